module kubepark.local/tools/standins

go 1.26.0

tool (
	kubepark.local/tools/standins/cmd/nvidia-container-runtime
	kubepark.local/tools/standins/cmd/nvidia-device-plugin
	kubepark.local/tools/standins/cmd/operator
	kubepark.local/tools/standins/cmd/pause
	kubepark.local/tools/standins/cmd/probe
	kubepark.local/tools/standins/cmd/proxy-start
	kubepark.local/tools/standins/cmd/vectoradd
)

require (
	google.golang.org/grpc v1.79.3
	gopkg.in/yaml.v3 v3.0.1
	k8s.io/kubelet v0.36.4
)

require (
	golang.org/x/net v0.56.0 // indirect
	golang.org/x/sys v0.46.0 // indirect
	golang.org/x/text v0.39.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260128011058-8636f8732409 // indirect
	google.golang.org/protobuf v1.36.12-0.20260120151049-f2248ac996af // indirect
)
