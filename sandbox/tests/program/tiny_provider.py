"""A provider whose cloud is a folder: what exists is what has a file there.

A thing has any inputs, and two faults to order: `fail` (the text of a refusal) and `hang` (seconds
that the creation takes after the thing exists). `tiny:index:Thing` gets an id from the provider;
things of a `kubernetes:` type are named by their metadata, and there can be one of each name only. A
changed `name` replaces: before the old thing is deleted, or after that if both have the same metadata.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from google.protobuf import empty_pb2, json_format
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

CLOUD = Path(os.environ["TINY_CLOUD"])


def path_of(thing):
    return CLOUD / f"{thing.replace('/', '_')}.json"


def plain(struct):
    return json_format.MessageToDict(struct)


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version="1.0.0")

    def CheckConfig(self, request, context):
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request, context):
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request, context):
        return provider_pb2.ConfigureResponse(acceptSecrets=False, supportsPreview=True)

    def Check(self, request, context):
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request, context):
        old, new = plain(request.old_inputs), plain(request.news)
        kinds = {}
        for key in {*old, *new}:
            if old.get(key) != new.get(key):
                kind = provider_pb2.PropertyDiff.UPDATE if key in old else provider_pb2.PropertyDiff.ADD
                if key == "name":
                    kind = provider_pb2.PropertyDiff.UPDATE_REPLACE
                kinds[key] = provider_pb2.PropertyDiff(kind=kind, inputDiff=True)
        changes = provider_pb2.DiffResponse.DIFF_SOME if kinds else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(
            changes=changes,
            diffs=list(kinds),
            replaces=[key for key in kinds if key == "name"],
            deleteBeforeReplace="kubernetes:" in request.urn and "metadata" not in kinds,
            detailedDiff=kinds,
            hasDetailedDiff=True,
        )

    def Create(self, request, context):
        inputs = plain(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=request.properties)
        if "fail" in inputs:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, inputs["fail"])
        made = uuid.uuid4().hex[:8]
        if "kubernetes:" in request.urn:
            made = "{namespace}/{name}".format(**inputs["metadata"])
        if path_of(made).exists():
            context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{made} already exists")
        path_of(made).write_text(json.dumps(inputs))
        time.sleep(inputs.get("hang", 0))
        return provider_pb2.CreateResponse(id=made, properties=request.properties)

    def Read(self, request, context):
        path = path_of(request.id)
        if not path.exists():
            return provider_pb2.ReadResponse()
        live = json_format.ParseDict(json.loads(path.read_text()), type(request.properties)())
        return provider_pb2.ReadResponse(id=request.id, properties=live, inputs=live)

    def Update(self, request, context):
        path_of(request.id).write_text(json.dumps(plain(request.news)))
        return provider_pb2.UpdateResponse(properties=request.news)

    def Delete(self, request, context):
        path_of(request.id).unlink(missing_ok=True)
        return empty_pb2.Empty()

    def Cancel(self, request, context):
        return empty_pb2.Empty()


if __name__ == "__main__":
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdout.close()
    parent = os.getppid()
    while os.getppid() == parent:  # kill -9 of the engine sends no signal
        server.wait_for_termination(0.5)
    os._exit(1)
