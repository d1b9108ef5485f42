// Command oracle answers with kube-scheduler's own Filter plugins where a pod may go.
//
// It reads cases as JSON lines and writes one JSON line for each. A case is {"pod": …, "objects": […]}: the pod to place, and
// everything else that the cluster holds, as `kubectl get -o json` shows it. The answer is {"nodes": {name: "" or the
// reason}}: an empty reason says that the pod fits. {"quantity": "1.5Gi"} asks how Kubernetes reads a quantity.
//
// Nothing runs: no API server, no informers, no goroutines. The plugins read listers whose stores are filled by hand, so that
// a case takes a millisecond and the answer depends on nothing but the case.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
	internalcache "k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodevolumelimits"
	"k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/metrics"
)

// All plugins that may say no to a node, in the scheduler's own order. What only scores is left out, and so is
// dynamic resource allocation, which needs a manager of its own.
var names = []string{
	"SchedulingGates", "PrioritySort", "NodeUnschedulable", "NodeName", "TaintToleration", "NodeAffinity", "NodePorts",
	"NodeResourcesFit", "VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone", "PodTopologySpread",
	"InterPodAffinity", "DefaultBinder",
}

// client is never asked anything: the plugins want one to exist.
var client = fake.NewSimpleClientset()

type question struct {
	Pod      *v1.Pod           `json:"pod"`
	Objects  []json.RawMessage `json:"objects"`
	Quantity *string           `json:"quantity"`
}

type answer struct {
	Nodes map[string]string `json:"nodes,omitempty"`
	Milli *int64            `json:"milli,omitempty"`
	Value *int64            `json:"value,omitempty"`
	Error string            `json:"error,omitempty"`
}

func main() {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	metrics.Register()
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(make([]byte, 1<<20), 64<<20)
	output := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(output)
	for input.Scan() {
		if err := encoder.Encode(reply(input.Bytes())); err != nil {
			panic(err)
		}
		// The other side asks one case at a time while it shrinks.
		if err := output.Flush(); err != nil {
			panic(err)
		}
	}
	if err := input.Err(); err != nil {
		panic(err)
	}
}

func reply(line []byte) (given answer) {
	// While a case is shrunk it may lose what no cluster lacks; the plugins then fail, and the case is no case.
	defer func() {
		if failure := recover(); failure != nil {
			given = answer{Error: fmt.Sprint(failure)}
		}
	}()
	var asked question
	if err := json.Unmarshal(line, &asked); err != nil {
		return answer{Error: err.Error()}
	}
	if asked.Quantity != nil {
		quantity, err := resource.ParseQuantity(*asked.Quantity)
		if err != nil {
			return answer{Error: err.Error()}
		}
		milli, value := quantity.MilliValue(), quantity.Value()
		return answer{Milli: &milli, Value: &value}
	}
	if asked.Pod == nil {
		return answer{Error: "there is no pod"}
	}
	nodes, err := judge(asked)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Nodes: nodes}
}

func judge(asked question) (map[string]string, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	factory := informers.NewSharedInformerFactory(client, 0)
	pods, nodes, err := load(factory, asked.Objects)
	if err != nil {
		return nil, err
	}
	scheduler, err := build(ctx, factory, internalcache.NewSnapshot(pods, nodes))
	if err != nil {
		return nil, err
	}
	verdict := make(map[string]string, len(nodes))
	everywhere := func(reason string) map[string]string {
		for _, node := range nodes {
			verdict[node.Name] = reason
		}
		return verdict
	}
	for _, plugin := range scheduler.PreEnqueuePlugins() {
		if status := plugin.PreEnqueue(ctx, asked.Pod); !status.IsSuccess() {
			return everywhere(said(status)), nil
		}
	}
	state := framework.NewCycleState()
	restricted, status, _ := scheduler.RunPreFilterPlugins(ctx, state, asked.Pod)
	if !status.IsSuccess() {
		return everywhere(said(status)), nil
	}
	infos, err := scheduler.SnapshotSharedLister().NodeInfos().List()
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		name := info.Node().Name
		if !restricted.AllNodes() && !restricted.NodeNames.Has(name) {
			verdict[name] = "PreFilter: not among the nodes that the pod names"
			continue
		}
		verdict[name] = said(scheduler.RunFilterPlugins(ctx, state, asked.Pod, info))
	}
	return verdict, nil
}

func said(status *fwk.Status) string {
	if status.IsSuccess() {
		return ""
	}
	plugin := status.Plugin()
	if plugin == "" {
		plugin = "Error" // a plugin that could not decide: the scheduler tries again later, and the pod stays where it is
	}
	return fmt.Sprintf("%s: %s", plugin, status.Message())
}

// load fills the stores behind the listers, and returns what the scheduler's cache would hold.
func load(factory informers.SharedInformerFactory, objects []json.RawMessage) (pods []*v1.Pod, nodes []*v1.Node, err error) {
	core, storage := factory.Core().V1(), factory.Storage().V1()
	decoder := scheme.Codecs.UniversalDeserializer()
	for _, raw := range objects {
		object, _, err := decoder.Decode(raw, nil, nil)
		if err != nil {
			return nil, nil, err
		}
		var store cache.SharedIndexInformer
		switch it := object.(type) {
		case *v1.Pod:
			// The scheduler's own informer asks for pods that have not ended.
			if it.Spec.NodeName != "" && it.Status.Phase != v1.PodSucceeded && it.Status.Phase != v1.PodFailed {
				pods = append(pods, it)
			}
			continue
		case *v1.Node:
			nodes = append(nodes, it)
			store = core.Nodes().Informer()
		case *v1.Namespace:
			store = core.Namespaces().Informer()
		case *v1.PersistentVolume:
			store = core.PersistentVolumes().Informer()
		case *v1.PersistentVolumeClaim:
			store = core.PersistentVolumeClaims().Informer()
		case *storagev1.StorageClass:
			store = storage.StorageClasses().Informer()
		case *storagev1.CSINode:
			store = storage.CSINodes().Informer()
		case *storagev1.CSIDriver:
			store = storage.CSIDrivers().Informer()
		case *storagev1.CSIStorageCapacity:
			store = storage.CSIStorageCapacities().Informer()
		case *storagev1.VolumeAttachment:
			store = storage.VolumeAttachments().Informer()
		default:
			continue
		}
		if err := store.GetIndexer().Add(object); err != nil {
			return nil, nil, err
		}
	}
	// Like the scheduler's cache: a pod on a node that is not known counts nowhere.
	known := map[string]bool{}
	for _, node := range nodes {
		known[node.Name] = true
	}
	pods = slices.DeleteFunc(pods, func(pod *v1.Pod) bool { return !known[pod.Spec.NodeName] })
	return pods, nodes, nil
}

func build(ctx context.Context, factory informers.SharedInformerFactory, snapshot *internalcache.Snapshot) (framework.Framework, error) {
	defaults, err := latest.Default()
	if err != nil {
		return nil, err
	}
	profile := defaults.Profiles[0]
	profile.Plugins = &config.Plugins{}
	for _, name := range names {
		profile.Plugins.MultiPoint.Enabled = append(profile.Plugins.MultiPoint.Enabled, config.Plugin{Name: name, Weight: 1})
	}
	return runtime.NewFramework(ctx, plugins.NewInTreeRegistry(), &profile,
		runtime.WithInformerFactory(factory),
		runtime.WithClientSet(client),
		runtime.WithSnapshotSharedLister(snapshot),
		runtime.WithSharedCSIManager(nodevolumelimits.NewCSIManager(factory.Storage().V1().CSINodes().Lister())),
		runtime.WithParallelism(1),
	)
}
