// pod is what pods of the cluster's own tests run, and, without arguments, what holds a pod's namespaces.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: pod                     wait for a signal to end, and reap orphans
       pod serve PORT TEXT     answer every HTTP request with the text
       pod ask URL             print the answer to a GET, as soon as there is one
       pod find NAME           print the addresses of a name
       pod burn                keep a core busy
       pod write FILE TEXT     write a file
       pod read FILE           print a file`

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-stop
		os.Exit(0)
	}()
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return hold()
	}
	switch command := strings.Join([]string{arguments[0], fmt.Sprint(len(arguments) - 1)}, "/"); command {
	case "serve/2":
		fmt.Println("serving")
		return http.ListenAndServe(":"+arguments[1], http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(response, arguments[2])
		}))
	case "ask/1":
		return ask(arguments[1])
	case "find/1":
		addresses, err := net.LookupHost(arguments[1])
		fmt.Println(strings.Join(addresses, "\n"))
		return err
	case "burn/0":
		for {
		}
	case "write/2":
		return os.WriteFile(arguments[1], []byte(arguments[2]), 0o644)
	case "read/1":
		content, err := os.ReadFile(arguments[1])
		fmt.Print(string(content))
		return err
	}
	return fmt.Errorf("%s", usage)
}

// hold reaps: in a pod that shares its process namespace it is everybody's last parent.
func hold() error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for range children {
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
	return nil
}

// authority is whom a pod trusts as the API server's.
const authority = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"

// patience is how long a Service may take to lead somewhere.
const patience = 20 * time.Second

func ask(url string) error {
	trusted := x509.NewCertPool()
	if certificate, err := os.ReadFile(authority); err == nil {
		trusted.AppendCertsFromPEM(certificate)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	client := http.Client{Timeout: 5 * time.Second, Transport: transport}
	deadline := time.Now().Add(patience)
	response, err := client.Get(url)
	for err != nil && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
		response, err = client.Get(url)
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}
