// proxy-start runs the real kube-proxy with one thing changed in its configuration: limits of connection
// tracking are left alone. They belong to the host's kernel, and no network namespace but the host's own
// can set them; kube-proxy ends when it cannot.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"gopkg.in/yaml.v3"

	"kubepark.local/tools/standins/internal/end"
)

const (
	program = "/usr/local/bin/kube-proxy.real"
	changed = "/run/kube-proxy.conf"
	option  = "--config="
)

func main() {
	arguments, err := rewritten(os.Args[1:])
	if err == nil {
		err = syscall.Exec(program, append([]string{"kube-proxy"}, arguments...), os.Environ())
	}
	end.Fail("proxy-start", err)
}

// rewritten gives the arguments with the changed copy of the configuration in place of the given one.
func rewritten(arguments []string) ([]string, error) {
	var found []string
	seen := false
	for _, argument := range arguments {
		path, is := strings.CutPrefix(argument, option)
		if is {
			if err := change(path); err != nil {
				return nil, err
			}
			argument, seen = option+changed, true
		}
		found = append(found, argument)
	}
	if !seen {
		return nil, errors.New("no --config=FILE: kubeadm's DaemonSet names one")
	}
	return found, nil
}

func change(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var document map[string]any
	if err := yaml.Unmarshal(text, &document); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if document["kind"] != "KubeProxyConfiguration" {
		return fmt.Errorf("%s: not a KubeProxyConfiguration", path)
	}
	document["conntrack"] = map[string]any{
		"maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s",
	}
	text, err = yaml.Marshal(document)
	if err != nil {
		return err
	}
	if err := os.MkdirAll("/run", 0o755); err != nil {
		return err
	}
	return os.WriteFile(changed, text, 0o600)
}
