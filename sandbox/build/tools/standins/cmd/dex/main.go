// dex stands in for Dex: it reads the configuration as strictly, is healthy when that one would be and
// publishes the issuer's discovery document. Nobody can log in.
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
		end.Fail("dex", err)
	}
}

func run(path string) error {
	read, err := load(path)
	if err != nil {
		return err
	}
	store := storage(func() error { return nil })
	if read.Storage.Type == "kubernetes" {
		if store, err = kubernetes(); err != nil {
			return err
		}
	}
	fmt.Printf("stand-in for Dex: issuer %s, %d accounts, nobody can log in\n", read.Issuer, len(read.StaticPasswords))
	servers := map[string]http.Handler{read.Web.HTTP: web(read.Issuer, store)}
	if read.Telemetry.HTTP != "" {
		servers[read.Telemetry.HTTP] = health("", store)
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
func web(issuer string, store storage) http.Handler {
	parsed, _ := url.Parse(issuer) // checked when the file was read
	base := strings.TrimSuffix(parsed.Path, "/")
	mux := health(base, store)
	mux.HandleFunc("GET "+base+"/.well-known/openid-configuration", document(map[string]any{
		"issuer":                                issuer,
		"authorization_endpoint":                issuer + "/auth",
		"token_endpoint":                        issuer + "/token",
		"jwks_uri":                              issuer + "/keys",
		"userinfo_endpoint":                     issuer + "/userinfo",
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

// health answers as Dex does: `live` for the process, the others for the storage as well.
func health(base string, store storage) *http.ServeMux {
	mux := http.NewServeMux()
	ready := func(answer http.ResponseWriter, _ *http.Request) {
		if err := store(); err != nil {
			fmt.Fprintln(os.Stderr, "storage:", err)
			http.Error(answer, "Health check failed: "+err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(answer, "Health check passed")
	}
	mux.HandleFunc("GET "+base+"/healthz", ready)
	mux.HandleFunc("GET "+base+"/healthz/ready", ready)
	mux.HandleFunc("GET "+base+"/healthz/live", func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(answer, "ok")
	})
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
