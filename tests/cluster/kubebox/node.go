//go:build node

package main

import (
	"context"

	"github.com/spf13/cobra"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func init() {
	processes["kube-proxy"] = func() *cobra.Command { return proxy.NewProxyCommand() }
	// kubelet handles signals itself: a context that does so too would make it panic.
	processes["kubelet"] = func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }
	processes["provisioner"] = provisionerCommand
	processes["registry"] = registryCommand
	processes["image"] = imageCommand
}
