package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strconv"

	"gopkg.in/yaml.v3"
)

const resource = "nvidia.com/gpu"

// settings is what this stand-in acts on.
type settings struct {
	failOnInitError bool
	resource        string
	replicas        int // pods that may share a GPU; 1: none do
	onlyOne         bool
}

// The other options that NVIDIA documents, with the one value each that this stand-in has: to take
// another one and ignore it would be a lie.
var fixed = []struct{ name, variable, value string }{
	{"mig-strategy", "MIG_STRATEGY", "none"},
	{"nvidia-driver-root", "NVIDIA_DRIVER_ROOT", "/"},
	{"pass-device-specs", "PASS_DEVICE_SPECS", "false"},
	{"device-list-strategy", "DEVICE_LIST_STRATEGY", "envvar"},
	{"device-id-strategy", "DEVICE_ID_STRATEGY", "uuid"},
}

// parse reads options, the environment (which an option overrules) and the configuration file.
func parse(arguments []string) (*settings, error) {
	flags := flag.NewFlagSet("nvidia-device-plugin", flag.ContinueOnError)
	fail := flags.String("fail-on-init-error", fallback("FAIL_ON_INIT_ERROR", "true"), "")
	file := flags.String("config-file", fallback("CONFIG_FILE", ""), "")
	given := map[string]*string{}
	for _, each := range fixed {
		given[each.name] = flags.String(each.name, fallback(each.variable, each.value), "")
	}
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	for _, each := range fixed {
		if value := *given[each.name]; value != each.value {
			return nil, fmt.Errorf("%s=%s: the stand-in has %s only", each.name, value, each.value)
		}
	}
	failing, err := strconv.ParseBool(*fail)
	if err != nil {
		return nil, fmt.Errorf("fail-on-init-error: %w", err)
	}
	found := &settings{failOnInitError: failing, resource: resource, replicas: 1}
	if *file == "" {
		return found, nil
	}
	return found, found.share(*file)
}

func fallback(variable, value string) string {
	if given := os.Getenv(variable); given != "" {
		return given
	}
	return value
}

// sharing is as much of NVIDIA's configuration file as is known here. Any other key is an error.
type sharing struct {
	Version string `yaml:"version"`
	Sharing struct {
		TimeSlicing struct {
			RenameByDefault            bool `yaml:"renameByDefault"`
			FailRequestsGreaterThanOne bool `yaml:"failRequestsGreaterThanOne"`
			Resources                  []struct {
				Name     string `yaml:"name"`
				Replicas int    `yaml:"replicas"`
			} `yaml:"resources"`
		} `yaml:"timeSlicing"`
	} `yaml:"sharing"`
}

func (found *settings) share(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var read sharing
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&read); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	slicing := read.Sharing.TimeSlicing
	if read.Version != "v1" {
		return fmt.Errorf("%s: version %q is not v1", path, read.Version)
	}
	if len(slicing.Resources) != 1 || slicing.Resources[0].Name != resource || slicing.Resources[0].Replicas < 2 {
		return fmt.Errorf("%s: sharing.timeSlicing.resources has to be %s with 2 replicas or more", path, resource)
	}
	found.replicas = slicing.Resources[0].Replicas
	found.onlyOne = slicing.FailRequestsGreaterThanOne
	if slicing.RenameByDefault {
		found.resource += ".shared"
	}
	return nil
}
