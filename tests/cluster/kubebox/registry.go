//go:build node

package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/spf13/cobra"
)

// upload is the address of one that has begun, as the library hands it out.
var upload = regexp.MustCompile(`^/v2/.+/blobs/uploads/([0-9]+)$`)

// uploads takes pushed layers to the disk as they come; the library would hold each in memory until it is whole.
type uploads struct {
	folder string
	rest   http.Handler
}

func registryCommand() *cobra.Command {
	var listen, folder string
	command := &cobra.Command{
		Use:  "registry",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return serveRegistry(listen, folder) },
	}
	command.Flags().StringVar(&listen, "listen", "127.0.0.1:5001", "address")
	command.Flags().StringVar(&folder, "folder", "", "where layers are kept; tags last as long as the process")
	return command
}

func serveRegistry(listen, folder string) error {
	if err := os.MkdirAll(filepath.Join(folder, "sha256"), 0o755); err != nil {
		return err
	}
	unfinished, err := filepath.Glob(filepath.Join(folder, "upload-*"))
	if err != nil {
		return err
	}
	for _, path := range unfinished {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	blobs := registry.WithBlobHandler(registry.NewDiskBlobHandler(folder))
	quiet := registry.Logger(log.New(io.Discard, "", 0))
	return http.ListenAndServe(listen, uploads{folder, registry.New(blobs, quiet)})
}

func (u uploads) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	match := upload.FindStringSubmatch(request.URL.Path)
	if match == nil || request.Method != http.MethodPatch && request.Method != http.MethodPut {
		u.rest.ServeHTTP(response, request)
		return
	}
	path := filepath.Join(u.folder, "upload-"+match[1])
	size, err := add(path, request.Body)
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	if request.Method == http.MethodPatch {
		response.Header().Set("Location", request.URL.Path)
		response.Header().Set("Range", fmt.Sprintf("0-%d", size-1))
		response.WriteHeader(http.StatusAccepted)
		return
	}
	digest := request.URL.Query().Get("digest")
	switch found, err := digestOf(path); {
	case err != nil:
		http.Error(response, err.Error(), http.StatusInternalServerError)
	case found != digest:
		os.Remove(path)
		http.Error(response, "the content is of digest "+found, http.StatusBadRequest)
	default:
		if err := os.Rename(path, filepath.Join(u.folder, strings.Replace(digest, ":", "/", 1))); err != nil {
			http.Error(response, err.Error(), http.StatusInternalServerError)
			return
		}
		response.Header().Set("Docker-Content-Digest", digest)
		response.WriteHeader(http.StatusCreated)
	}
}

// add appends to the file and tells how long it is now.
func add(path string, content io.Reader) (int64, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if _, err := io.Copy(file, content); err != nil {
		return 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func digestOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", hash.Sum(nil)), nil
}
