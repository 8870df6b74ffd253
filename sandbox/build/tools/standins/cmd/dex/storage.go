package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"
	version        = "dex.coreos.com/v1"
)

// storage answers whether what Dex keeps its state in takes something and gives it up again.
type storage func() error

// cluster is the API server, found and authenticated to as from any pod.
type cluster struct {
	asking *http.Client
	stored string // address of this namespace's custom resources
}

// kubernetes is the storage in the cluster. Like Dex it ends if its definitions are not there when it starts: they
// are made by who installs it, for by itself it may not.
func kubernetes() (storage, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	namespace := os.Getenv("KUBERNETES_POD_NAMESPACE")
	if host == "" || port == "" || namespace == "" {
		return nil, errors.New("storage kubernetes: KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and " +
			"KUBERNETES_POD_NAMESPACE are not all set")
	}
	authority, err := os.ReadFile(filepath.Join(serviceAccount, "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s/ca.crt holds no certificate", serviceAccount)
	}
	asking := http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
	}
	api := cluster{&asking, fmt.Sprintf("https://%s/apis/%s/namespaces/%s/", net.JoinHostPort(host, port), version, namespace)}
	if err := api.ask(http.MethodGet, "connectors", nil); err != nil {
		return nil, fmt.Errorf("failed to list connectors: %w", err)
	}
	return api.check, nil
}

// check is Dex's own: a request for a login is stored, and taken away.
func (api cluster) check() error {
	random := make([]byte, 8)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	name := "health-" + hex.EncodeToString(random)
	request := map[string]any{"apiVersion": version, "kind": "AuthRequest", "metadata": map[string]any{"name": name}}
	if err := api.ask(http.MethodPost, "authrequests", request); err != nil {
		return fmt.Errorf("create auth request: %w", err)
	}
	if err := api.ask(http.MethodDelete, "authrequests/"+name, nil); err != nil {
		return fmt.Errorf("delete auth request: %w", err)
	}
	return nil
}

// ask makes one request. The token is read each time, because the kubelet renews it.
func (api cluster) ask(method, path string, content any) error {
	token, err := os.ReadFile(filepath.Join(serviceAccount, "token"))
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if content != nil {
		if err := json.NewEncoder(&body).Encode(content); err != nil {
			return err
		}
	}
	request, err := http.NewRequest(method, api.stored+path, &body)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	request.Header.Set("Content-Type", "application/json")
	answer, err := api.asking.Do(request)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the API server answers %s", answer.Status)
	}
	return nil
}
