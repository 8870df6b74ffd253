package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"

	"golang.org/x/crypto/bcrypt"
	"gopkg.in/yaml.v3"
)

// config is as much of Dex's configuration file as this stand-in knows. Any other key is an error.
type config struct {
	Issuer  string `yaml:"issuer"`
	Storage struct {
		Type   string `yaml:"type"`
		Config struct {
			InCluster bool `yaml:"inCluster"`
		} `yaml:"config"`
	} `yaml:"storage"`
	Web struct {
		HTTP string `yaml:"http"`
	} `yaml:"web"`
	Telemetry struct {
		HTTP string `yaml:"http"`
	} `yaml:"telemetry"`
	Logger struct {
		Level  string `yaml:"level"`
		Format string `yaml:"format"`
	} `yaml:"logger"`
	OAuth2 struct {
		SkipApprovalScreen bool `yaml:"skipApprovalScreen"`
	} `yaml:"oauth2"`
	Expiry struct {
		IDTokens string `yaml:"idTokens"`
	} `yaml:"expiry"`
	EnablePasswordDB bool       `yaml:"enablePasswordDB"`
	StaticPasswords  []password `yaml:"staticPasswords"`
	StaticClients    []client   `yaml:"staticClients"`
}

type password struct {
	Email       string `yaml:"email"`
	Hash        string `yaml:"hash"`
	HashFromEnv string `yaml:"hashFromEnv"`
	Username    string `yaml:"username"`
	Name        string `yaml:"name"`
	UserID      string `yaml:"userID"`
}

type client struct {
	ID           string   `yaml:"id"`
	IDEnv        string   `yaml:"idEnv"`
	Secret       string   `yaml:"secret"`
	SecretEnv    string   `yaml:"secretEnv"`
	Name         string   `yaml:"name"`
	RedirectURIs []string `yaml:"redirectURIs"`
}

// load reads and checks a file, and what it takes from the environment, as Dex does at its start.
func load(path string) (*config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var read config
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&read); err != nil {
		return nil, fmt.Errorf("error parse config file %s: %w", path, err)
	}
	if err := read.check(); err != nil {
		return nil, fmt.Errorf("invalid config: %w", err)
	}
	return &read, nil
}

func (read *config) check() error {
	var problems []error
	refuse := func(wrong bool, format string, values ...any) {
		if wrong {
			problems = append(problems, fmt.Errorf(format, values...))
		}
	}
	issuer, err := url.Parse(read.Issuer)
	refuse(err != nil || issuer.Host == "", "issuer %q is not a URL", read.Issuer)
	refuse(read.Web.HTTP == "", "no web.http address to listen on")
	kubernetes := read.Storage.Type == "kubernetes" && read.Storage.Config.InCluster
	refuse(!kubernetes && read.Storage.Type != "memory",
		"storage %q is not known to the stand-in: kubernetes with inCluster, or memory", read.Storage.Type)
	refuse(len(read.StaticPasswords) > 0 && !read.EnablePasswordDB,
		"cannot specify static passwords without enabling password db")
	for _, each := range read.StaticPasswords {
		hash := either(each.Hash, each.HashFromEnv)
		_, err := bcrypt.Cost([]byte(hash))
		refuse(each.Email == "" || each.UserID == "", "a static password needs email and userID")
		refuse(err != nil, "malformed bcrypt hash of %s: %v", each.Email, err)
	}
	for _, each := range read.StaticClients {
		refuse(either(each.ID, each.IDEnv) == "", "client %q has no id", each.Name)
		refuse(either(each.Secret, each.SecretEnv) == "", "client %q has no secret", each.Name)
		refuse(len(each.RedirectURIs) == 0, "client %q has no redirectURIs", each.Name)
	}
	return errors.Join(problems...)
}

// either gives the value, or that of the environment variable which the file names in its place.
func either(value, variable string) string {
	if variable != "" {
		return os.Getenv(variable)
	}
	return value
}
