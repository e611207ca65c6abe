//go:build node

package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/spf13/cobra"
)

// imageCommand pushes an image that holds one static program and nothing else.
func imageCommand() *cobra.Command {
	return &cobra.Command{
		Use:  "image PROGRAM REFERENCE",
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, arguments []string) error { return pushImage(arguments[0], arguments[1]) },
	}
}

func pushImage(program, reference string) error {
	to, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		return err
	}
	layer, err := layerOf(program)
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{Entrypoint: []string{"/" + filepath.Base(program)}, User: "65532:65532"}
	image, err = mutate.ConfigFile(image, config)
	if err != nil {
		return err
	}
	return remote.Write(to, image)
}

// layerOf is the same for the same program, whenever it was built.
func layerOf(program string) (v1.Layer, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	header := &tar.Header{Name: filepath.Base(program), Mode: 0o755, Size: int64(len(content))}
	if err := writer.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := writer.Write(content); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	})
}
