package main

import (
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/apiserver/pkg/server"
)

// etcdCommand serves one etcd member on a socket file. It never waits for the disk: a test's data need not
// outlive the machine.
func etcdCommand() *cobra.Command {
	var folder, socket string
	command := &cobra.Command{
		Use:  "etcd",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return serveEtcd(folder, socket) },
	}
	command.Flags().StringVar(&folder, "data-dir", "etcd", "folder of the database")
	command.Flags().StringVar(&socket, "socket", "etcd.sock", "socket file for clients")
	return command
}

func serveEtcd(folder, socket string) error {
	clients := []url.URL{{Scheme: "unix", Host: socket}}
	peers := []url.URL{{Scheme: "unix", Host: socket + ".peers"}}
	config := embed.NewConfig()
	config.Dir = folder
	config.UnsafeNoFsync = true
	config.LogLevel = "warn"
	config.ListenClientUrls, config.AdvertiseClientUrls = clients, clients
	config.ListenPeerUrls, config.AdvertisePeerUrls = peers, peers
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer etcd.Close()
	select {
	case <-server.SetupSignalHandler():
		return nil
	case err := <-etcd.Err():
		return fmt.Errorf("etcd serves no longer: %w", err)
	}
}
