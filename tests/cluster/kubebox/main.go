// kubebox is the Kubernetes of this project's tests: one program, one sub-command for each process.
//
// It holds what a test cluster needs and a machine without Docker lacks. The API server's part is always
// in it, and kubectl; kubelet, kube-proxy and what else a node takes come with the build tag "node" (see node.go).
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubectl shall know every way to log in
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// processes makes the command asked for and no other, since making one registers flags and feature gates for
// the whole program.
var processes = map[string]func() *cobra.Command{
	"certificates":            certificatesCommand,
	"etcd":                    etcdCommand,
	"kube-apiserver":          func() *cobra.Command { return apiserver.NewAPIServerCommand() },
	"kube-controller-manager": func() *cobra.Command { return controllermanager.NewControllerManagerCommand() },
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
}

func main() {
	// A link of this name is kubectl.
	if filepath.Base(os.Args[0]) == "kubectl" {
		if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
			util.CheckErr(err)
		}
		return
	}
	if len(os.Args) > 1 {
		if command, known := processes[os.Args[1]]; known {
			os.Args = os.Args[1:]
			os.Exit(cli.Run(command()))
		}
	}
	names := slices.Sorted(maps.Keys(processes))
	fmt.Fprintf(os.Stderr, "usage: kubebox %s [flags]\n", strings.Join(names, "|"))
	os.Exit(2)
}
