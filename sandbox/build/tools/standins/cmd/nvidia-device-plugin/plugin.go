package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// plugin answers the kubelet. What it offers never changes while it runs.
type plugin struct {
	api.UnimplementedDevicePluginServer
	settings *settings
	devices  []string
	ending   context.Context // done when the server is about to stop
}

func (served *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch sends the list once and keeps the stream open: that is how the kubelet knows we live.
func (served *plugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	var offered []*api.Device
	for _, device := range served.devices {
		for replica := range served.settings.replicas {
			offered = append(offered, &api.Device{ID: served.name(device, replica), Health: api.Healthy})
		}
	}
	if err := stream.Send(&api.ListAndWatchResponse{Devices: offered}); err != nil {
		return err
	}
	select {
	case <-stream.Context().Done():
	case <-served.ending.Done():
	}
	return nil
}

// name is what the kubelet calls a GPU, or one of the shares of it.
func (served *plugin) name(device string, replica int) string {
	if served.settings.replicas == 1 {
		return device
	}
	return fmt.Sprintf("%s::%d", device, replica)
}

// Allocate hands the ids on in the variable that the container runtime reads.
func (served *plugin) Allocate(_ context.Context, asked *api.AllocateRequest) (*api.AllocateResponse, error) {
	answer := &api.AllocateResponse{}
	for _, container := range asked.ContainerRequests {
		number := len(container.DevicesIds)
		if served.settings.onlyOne && number > 1 {
			return nil, status.Errorf(codes.InvalidArgument,
				"request for '%s: %d' too large: maximum request size for shared resources is 1",
				served.settings.resource, number)
		}
		var ids []string
		for _, name := range container.DevicesIds {
			id, _, _ := strings.Cut(name, "::")
			if !slices.Contains(served.devices, id) {
				return nil, status.Errorf(codes.InvalidArgument, "unknown device: %s", name)
			}
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		answer.ContainerResponses = append(answer.ContainerResponses, &api.ContainerAllocateResponse{
			Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(ids, ",")},
		})
	}
	return answer, nil
}
