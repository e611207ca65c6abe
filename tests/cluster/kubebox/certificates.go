package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

const (
	validity = 365 * 24 * time.Hour
	node     = "kubebox"    // the name of the node, where there is one
	gateway  = "10.244.0.1" // where its pods reach the processes beside them
)

// identity is whom a certificate speaks for: a user and its group towards the API server, or a server by its names.
type identity struct {
	file  string
	user  string
	group string
	names []string
	ips   []string
}

// identities all get a certificate; the file's name is the process that shows it.
var identities = []identity{
	{
		file: "kube-apiserver",
		user: "kube-apiserver",
		names: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		},
		ips: []string{"127.0.0.1", "10.96.0.1", gateway}, // the second is the Service "kubernetes"
	},
	{file: "admin", user: "admin", group: "system:masters"},
	{file: "kube-controller-manager", user: "system:kube-controller-manager"},
	{file: "kube-scheduler", user: "system:kube-scheduler"},
	{
		file: "kubelet", user: "system:node:" + node, group: "system:nodes",
		names: []string{node}, ips: []string{gateway},
	},
	{file: "kube-proxy", user: "system:kube-proxy"},
	{file: "front-proxy", user: "front-proxy"},
	{file: "metrics-server", user: "metrics-server", names: []string{"metrics-server.kube-system.svc"}},
}

// pair is a certificate and its key.
type pair struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func certificatesCommand() *cobra.Command {
	return &cobra.Command{
		Use:  "certificates FOLDER",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, arguments []string) error { return writeCertificates(arguments[0]) },
	}
}

// writeCertificates makes a new authority, ca.crt and ca.key, a .crt and a .key of each identity, and
// service-accounts.key, with which the API server signs the tokens of pods.
func writeCertificates(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	authority, err := newPair(identity{file: "ca", user: "modelyard-test"}, nil)
	if err != nil {
		return err
	}
	if err := authority.write(folder, "ca"); err != nil {
		return err
	}
	for _, who := range identities {
		issued, err := newPair(who, authority)
		if err != nil {
			return fmt.Errorf("certificate of %s: %w", who.file, err)
		}
		if err := issued.write(folder, who.file); err != nil {
			return err
		}
	}
	tokens, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return writeKey(folder, "service-accounts", tokens)
}

// newPair is signed by the authority, or by itself where there is none yet.
func newPair(who identity, authority *pair) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: who.user},
		NotBefore:    now.Add(-time.Hour), // clocks of machines that share the folder may differ
		NotAfter:     now.Add(validity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     who.names,
	}
	if who.group != "" {
		template.Subject.Organization = []string{who.group}
	}
	for _, ip := range who.ips {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(ip))
	}
	signer := &pair{template, key}
	if authority == nil {
		template.IsCA = true
		template.BasicConstraintsValid = true
		template.KeyUsage |= x509.KeyUsageCertSign
		template.ExtKeyUsage = nil
	} else {
		signer = authority
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, signer.certificate, key.Public(), signer.key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, err
	}
	return &pair{certificate, key}, nil
}

func (p *pair) write(folder, name string) error {
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.certificate.Raw})
	if err := os.WriteFile(filepath.Join(folder, name+".crt"), block, 0o600); err != nil {
		return err
	}
	return writeKey(folder, name, p.key)
}

func writeKey(folder, name string, key *ecdsa.PrivateKey) error {
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
	return os.WriteFile(filepath.Join(folder, name+".key"), block, 0o600)
}
