// nvidia-device-plugin stands in for NVIDIA's: it tells the kubelet which GPUs this container was given.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"kubepark.local/tools/standins/internal/end"
	"kubepark.local/tools/standins/internal/gpus"
)

const (
	program  = "nvidia-device-plugin"
	endpoint = "nvidia-gpu.sock"
	glance   = time.Second // how often the kubelet's socket is looked at
)

func main() {
	found, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		end.Fail(program, err)
	}
	asked, stop := end.Asked()
	defer stop()
	devices, err := gpus.Read(gpus.Path)
	if err != nil {
		if found.failOnInitError || !errors.Is(err, fs.ErrNotExist) {
			end.Fail(program, fmt.Errorf("no GPU can be used: %w. Is nvidia this container's runtime?", err))
		}
		fmt.Println("no GPU, and FAIL_ON_INIT_ERROR=false: waiting for nothing")
		<-asked.Done()
		return
	}
	for asked.Err() == nil {
		offer(asked, found, devices)
	}
}

// offer serves and registers, and returns when that is no longer of use: the process is asked to end,
// or the kubelet has started anew (it then removes all sockets but its own and forgets all plugins).
func offer(asked context.Context, found *settings, devices []string) {
	kubelet, err := waitForSocket(asked)
	if err != nil {
		return
	}
	path := filepath.Join(api.DevicePluginPath, endpoint)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		end.Fail(program, err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		end.Fail(program, err)
	}
	ending, cancel := context.WithCancel(asked)
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, &plugin{settings: found, devices: devices, ending: ending})
	go server.Serve(listener) // ends with Stop, which removes the socket
	defer server.Stop()
	defer cancel()
	if err := register(asked, found.resource); err != nil {
		fmt.Fprintf(os.Stderr, "%s: registering failed, once more in a second: %v\n", program, err)
		rest(asked)
		return
	}
	fmt.Printf("registered %s: %d\n", found.resource, len(devices)*found.replicas)
	for asked.Err() == nil && identity(api.KubeletSocket) == kubelet {
		rest(asked)
	}
}

func rest(asked context.Context) {
	select {
	case <-asked.Done():
	case <-time.After(glance):
	}
}

// waitForSocket gives the identity of the kubelet's socket as soon as there is one.
func waitForSocket(asked context.Context) (socket, error) {
	for asked.Err() == nil {
		if found := identity(api.KubeletSocket); found != (socket{}) {
			return found, nil
		}
		rest(asked)
	}
	return socket{}, asked.Err()
}

// socket tells one incarnation of a socket file from the next, even if the inode is used again.
type socket struct {
	inode   uint64
	changed syscall.Timespec
}

func identity(path string) socket {
	var found syscall.Stat_t
	if err := syscall.Stat(path, &found); err != nil {
		return socket{}
	}
	return socket{found.Ino, found.Ctim}
}

func register(asked context.Context, resource string) error {
	limited, cancel := context.WithTimeout(asked, 5*time.Second)
	defer cancel()
	connection, err := grpc.NewClient("unix://"+api.KubeletSocket,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	_, err = api.NewRegistrationClient(connection).Register(limited, &api.RegisterRequest{
		Version:      api.Version,
		Endpoint:     endpoint,
		ResourceName: resource,
		Options:      &api.DevicePluginOptions{},
	})
	return err
}
