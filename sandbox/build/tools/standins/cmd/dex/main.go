// dex stands in for Dex v2.45: it starts with what that one starts with, but refuses what it would ignore; it is
// healthy when that one would be, and publishes the issuer's discovery document. Nobody can log in.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"kubepark.local/tools/standins/internal/end"
)

func main() {
	if len(os.Args) != 3 || os.Args[1] != "serve" {
		fmt.Fprintln(os.Stderr, "usage of the stand-in: dex serve CONFIG")
		os.Exit(2)
	}
	if err := run(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2) // as Dex does
	}
}

func run(path string) error {
	read, err := load(path)
	if err != nil {
		return err
	}
	check := storage(func() error { return nil })
	if read.Storage.Type == "kubernetes" {
		if check, err = kubernetes(); err != nil {
			return err
		}
	}
	period, err := healthPeriod()
	if err != nil {
		return err
	}
	state := &health{}
	go state.follow(check, period)
	fmt.Printf("stand-in for Dex: issuer %s, %d accounts, nobody can log in\n", read.Issuer, len(read.StaticPasswords))
	servers := map[string]http.Handler{read.Web.HTTP: web(read, state)}
	if read.Telemetry.HTTP != "" {
		servers[read.Telemetry.HTTP] = telemetry(state)
	}
	return serve(servers)
}

// serve answers on every address until the process is asked to end, or one of them fails.
func serve(handlers map[string]http.Handler) error {
	asked, stop := end.Asked()
	defer stop()
	failed := make(chan error, len(handlers))
	for address, handler := range handlers {
		server := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
		go func() { failed <- server.ListenAndServe() }()
		defer shutdown(server)
		fmt.Printf("listening on %s\n", address)
	}
	select {
	case <-asked.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func shutdown(server *http.Server) {
	limited, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := server.Shutdown(limited); err != nil && !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
	}
}

// web is what lies below the issuer's path.
func web(read *config, state *health) http.Handler {
	parsed, _ := url.Parse(read.Issuer) // checked when the file was read
	base := strings.TrimSuffix(parsed.Path, "/")
	offered := grants
	if len(read.OAuth2.GrantTypes) > 0 {
		offered = read.OAuth2.GrantTypes
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+base+"/healthz", func(answer http.ResponseWriter, _ *http.Request) {
		if state.failures.Load() > 0 {
			http.Error(answer, "Health check failed.", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(answer, "Health check passed")
	})
	mux.HandleFunc("GET "+base+"/.well-known/openid-configuration", document(map[string]any{
		"issuer":                                read.Issuer,
		"authorization_endpoint":                read.Issuer + "/auth",
		"token_endpoint":                        read.Issuer + "/token",
		"jwks_uri":                              read.Issuer + "/keys",
		"userinfo_endpoint":                     read.Issuer + "/userinfo",
		"grant_types_supported":                 offered,
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	}))
	mux.HandleFunc("GET "+base+"/keys", document(map[string]any{"keys": []any{}})) // it signs nothing
	for _, path := range []string{"/auth", "/token", "/userinfo"} {
		mux.HandleFunc(base+path, func(answer http.ResponseWriter, _ *http.Request) {
			http.Error(answer, "stand-in for Dex: nobody can log in", http.StatusNotImplemented)
		})
	}
	return mux
}

func document(content any) http.HandlerFunc {
	return func(answer http.ResponseWriter, _ *http.Request) {
		answer.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(answer).Encode(content); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}
