// Package gpus reads the file that stands for the GPUs of a machine: the UUID of one in each line.
package gpus

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Path is where the file lies on a machine that has GPUs, and in a container that was given some.
const Path = "/run/nvidia/gpus"

// As NVIDIA's tools print it.
var uuid = regexp.MustCompile(`^GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// Read parses the file at path. A file without a device is an error: a machine without GPUs has none.
func Read(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var devices []string
	for number, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if !uuid.MatchString(line) {
			return nil, fmt.Errorf("%s line %d: %q is not the UUID of a GPU", path, number+1, line)
		}
		devices = append(devices, line)
	}
	return devices, nil
}

// Select gives the devices that a value of NVIDIA_VISIBLE_DEVICES names: `all`, ids or places in the list.
func Select(devices []string, value string) ([]string, error) {
	if value == "all" {
		return devices, nil
	}
	var chosen []string
	for _, name := range strings.Split(value, ",") {
		place := slices.Index(devices, name)
		if number, err := strconv.Atoi(name); err == nil && number >= 0 && number < len(devices) {
			place = number
		}
		if place < 0 {
			return nil, fmt.Errorf("%s: unknown device", name)
		}
		chosen = append(chosen, devices[place])
	}
	return chosen, nil
}

// Lines is what Read reads.
func Lines(devices []string) []byte {
	return []byte(strings.Join(devices, "\n") + "\n")
}
