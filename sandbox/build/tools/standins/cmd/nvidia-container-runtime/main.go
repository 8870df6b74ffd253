// nvidia-container-runtime stands in for NVIDIA's: a wrapper around runc that gives a container the
// GPUs which NVIDIA_VISIBLE_DEVICES names. A GPU is a line of a file here, and that is what is mounted.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"kubepark.local/tools/standins/internal/end"
	"kubepark.local/tools/standins/internal/gpus"
)

const variable = "NVIDIA_VISIBLE_DEVICES="

func main() {
	call := parse(os.Args[1:])
	if call.subcommand == "create" {
		if err := give(call.bundle); err != nil {
			call.report(err)
			end.Fail("nvidia-container-runtime", err)
		}
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		call.report(err)
		end.Fail("nvidia-container-runtime", err)
	}
	end.Fail("nvidia-container-runtime", syscall.Exec(runc, append([]string{"runc"}, os.Args[1:]...), os.Environ()))
}

// call is what matters here of a command line of runc.
type call struct {
	subcommand, bundle, log string
}

// parse finds the subcommand: the first word that is neither an option nor the value of one.
func parse(arguments []string) call {
	found := call{bundle: "."}
	for i := 0; i < len(arguments); i++ {
		name, value, inline := strings.Cut(arguments[i], "=")
		if !strings.HasPrefix(name, "-") {
			if found.subcommand == "" {
				found.subcommand = name
			}
			continue
		}
		name = strings.TrimLeft(name, "-")
		if !inline && takesValue[name] && i+1 < len(arguments) {
			i++
			value = arguments[i]
		}
		switch name {
		case "bundle", "b":
			found.bundle = value
		case "log":
			found.log = value
		}
	}
	return found
}

// The options of runc, and of its `create`, that are followed by a value.
var takesValue = map[string]bool{
	"root": true, "log": true, "log-format": true, "rootless": true, "criu": true,
	"bundle": true, "b": true, "console-socket": true, "pidfd-socket": true, "pid-file": true,
	"preserve-fds": true,
}

// report writes the reason where runc would: containerd shows the last error of that log.
func (found call) report(reason error) {
	if found.log == "" {
		return
	}
	line, err := json.Marshal(map[string]string{
		"level": "error", "msg": reason.Error(), "time": time.Now().UTC().Format(time.RFC3339),
	})
	if err != nil {
		return
	}
	file, err := os.OpenFile(found.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer file.Close()
	if _, err := file.Write(append(line, '\n')); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// give adds the mount to a bundle whose process asks for GPUs, and leaves any other as it is.
func give(bundle string) error {
	path := filepath.Join(bundle, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // limits may be larger than a float64 keeps exactly
	if err := decoder.Decode(&spec); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	wanted := visible(spec)
	if wanted == "" || wanted == "void" || wanted == "none" {
		return nil
	}
	source, err := granted(bundle, wanted)
	if err != nil {
		return fmt.Errorf("nvidia-container-cli: %w", err)
	}
	mounts, _ := spec["mounts"].([]any)
	spec["mounts"] = append(mounts, map[string]any{
		"destination": gpus.Path,
		"type":        "bind",
		"source":      source,
		"options":     []string{"bind", "ro", "nosuid", "nodev", "noexec"},
	})
	changed, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(path, changed, 0o600)
}

// visible is the variable's value in the container's environment; the last one counts, as in execve.
func visible(spec map[string]any) string {
	process, _ := spec["process"].(map[string]any)
	environment, _ := process["env"].([]any)
	value := ""
	for _, each := range environment {
		if text, ok := each.(string); ok && strings.HasPrefix(text, variable) {
			value = strings.TrimPrefix(text, variable)
		}
	}
	return value
}

// granted gives the file to mount: the machine's own for `all`, else one with the named devices only.
func granted(bundle, wanted string) (string, error) {
	devices, err := gpus.Read(gpus.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errors.New("initialization error: nvml error: driver not loaded")
	}
	if err != nil {
		return "", err
	}
	chosen, err := gpus.Select(devices, wanted)
	if err != nil {
		return "", fmt.Errorf("device error: %w", err)
	}
	if wanted == "all" {
		return gpus.Path, nil
	}
	path, err := filepath.Abs(filepath.Join(bundle, "nvidia-gpus"))
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, gpus.Lines(chosen), 0o444)
}
