//go:build node

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// provisionerName is what the default StorageClass names.
const provisionerName = "modelyard.dev/folders"

// folders makes a folder of the node for each claim. On one node every access mode holds by itself.
type folders struct{ root string }

func provisionerCommand() *cobra.Command {
	var kubeconfig, root string
	command := &cobra.Command{
		Use:  "provisioner",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return provision(kubeconfig, root) },
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&root, "folder", "", "where the volumes are kept, an absolute path")
	return command
}

func provision(kubeconfig, root string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx := server.SetupSignalContext()
	controller.NewProvisionController(
		ctx, client, provisionerName, folders{root}, controller.LeaderElection(false), controller.MetricsPort(0),
	).Run(ctx)
	return nil
}

func (f folders) Provision(
	_ context.Context, options controller.ProvisionOptions,
) (*core.PersistentVolume, controller.ProvisioningState, error) {
	folder := filepath.Join(f.root, options.PVName)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	// Whatever the umask: pods of any user write here.
	if err := os.Chmod(folder, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	claim := options.PVC.Spec
	volume := &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: options.PVName},
		Spec: core.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   claim.AccessModes,
			Capacity:                      core.ResourceList{core.ResourceStorage: claim.Resources.Requests[core.ResourceStorage]},
			PersistentVolumeSource: core.PersistentVolumeSource{
				HostPath: &core.HostPathVolumeSource{Path: folder},
			},
		},
	}
	return volume, controller.ProvisioningFinished, nil
}

func (f folders) Delete(_ context.Context, volume *core.PersistentVolume) error {
	folder := volume.Spec.HostPath.Path
	if filepath.Dir(folder) != filepath.Clean(f.root) {
		return fmt.Errorf("%s is not in %s", folder, f.root)
	}
	return os.RemoveAll(folder)
}
