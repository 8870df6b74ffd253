package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"
	"gopkg.in/yaml.v3"
)

// config is as much of Dex's configuration file as this stand-in knows. Any other key is an error here.
type config struct {
	Issuer  string `yaml:"issuer"`
	Storage struct {
		Type   string `yaml:"type"`
		Config struct {
			InCluster   bool   `yaml:"inCluster"`
			CRDHandling string `yaml:"crdHandling"`
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
		GrantTypes         []string `yaml:"grantTypes"`
		SkipApprovalScreen bool     `yaml:"skipApprovalScreen"`
	} `yaml:"oauth2"`
	Expiry struct {
		IDTokens string `yaml:"idTokens"`
	} `yaml:"expiry"`
	EnablePasswordDB bool        `yaml:"enablePasswordDB"`
	StaticPasswords  []password  `yaml:"staticPasswords"`
	StaticClients    []client    `yaml:"staticClients"`
	Connectors       []connector `yaml:"connectors"`
}

type password struct {
	Email       string   `yaml:"email"`
	Hash        string   `yaml:"hash"`
	HashFromEnv string   `yaml:"hashFromEnv"`
	Username    string   `yaml:"username"`
	Name        string   `yaml:"name"`
	UserID      string   `yaml:"userID"`
	Groups      []string `yaml:"groups"`
}

type client struct {
	ID           string   `yaml:"id"`
	IDEnv        string   `yaml:"idEnv"`
	Secret       string   `yaml:"secret"`
	SecretEnv    string   `yaml:"secretEnv"`
	Name         string   `yaml:"name"`
	RedirectURIs []string `yaml:"redirectURIs"`
}

type connector struct {
	Type   string `yaml:"type"`
	ID     string `yaml:"id"`
	Name   string `yaml:"name"`
	Config *struct {
		ClientID     string `yaml:"clientID"`
		ClientSecret string `yaml:"clientSecret"`
		RedirectURI  string `yaml:"redirectURI"`
		Orgs         []struct {
			Name  string   `yaml:"name"`
			Teams []string `yaml:"teams"`
		} `yaml:"orgs"`
		HostedDomains []string `yaml:"hostedDomains"`
		Issuer        string   `yaml:"issuer"`
	} `yaml:"config"`
}

// grants are those that Dex knows without a password connector.
var grants = []string{
	"authorization_code",
	"client_credentials",
	"refresh_token",
	"urn:ietf:params:oauth:grant-type:device_code",
	"urn:ietf:params:oauth:grant-type:token-exchange",
}

// load reads and checks a file, and what it takes from the environment, as Dex does at its start. More is refused
// than Dex refuses: keys and grants that it would ignore, and a connector's callback that it would fail each login
// for, with status 500.
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
	handling := read.Storage.Config.CRDHandling
	refuse(!slices.Contains([]string{"", "check", "ensure"}, handling), "invalid crdHandling value %q", handling)
	for _, each := range read.OAuth2.GrantTypes {
		refuse(!slices.Contains(grants, each), "grant type %q is not known", each)
	}
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
	for _, each := range read.Connectors {
		refuse(!slices.Contains([]string{"github", "google", "oidc"}, each.Type), "unknown connector type %q", each.Type)
		refuse(each.ID == "" || each.Name == "", "ID, Type and Name fields are required for a connector")
		if each.Config == nil {
			refuse(true, "no config field for connector %q", each.ID)
			continue
		}
		callback := strings.TrimSuffix(read.Issuer, "/") + "/callback"
		refuse(each.Config.RedirectURI != callback, "expected callback URL %q did not match the URL in the config %q",
			callback, each.Config.RedirectURI)
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
