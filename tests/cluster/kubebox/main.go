// kubebox is the Kubernetes of this project's tests: one program, one sub-command for each process.
//
// It holds what a test cluster needs and a machine without Docker lacks. The API server's part is always
// in it; kubelet and kube-proxy come with the build tag "node" (see node.go).
package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
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
