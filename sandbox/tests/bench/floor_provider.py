"""A provider plugin that does nothing: every resource is as declared, nothing ever differs.

The engine runs it for each provider of the floor program (see `floor.py`).
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime import proto
from pulumi.runtime.proto import provider_pb2_grpc


class Nothing(proto.ResourceProviderServicer):  # type: ignore[misc]  # the stubs are untyped
    async def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return proto.PluginInfo(version="1.0.0")

    async def CheckConfig(self, request: Any, context: Any) -> Any:
        return proto.CheckResponse(inputs=request.news)

    async def DiffConfig(self, request: Any, context: Any) -> Any:
        return proto.DiffResponse(changes=proto.DiffResponse.DIFF_NONE)

    async def Configure(self, request: Any, context: Any) -> Any:
        return proto.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    async def Check(self, request: Any, context: Any) -> Any:
        return proto.CheckResponse(inputs=request.news)

    async def Diff(self, request: Any, context: Any) -> Any:
        return proto.DiffResponse(changes=proto.DiffResponse.DIFF_NONE)

    async def Create(self, request: Any, context: Any) -> Any:
        return proto.CreateResponse(id="" if request.preview else "made", properties=request.properties)

    async def Cancel(self, request: Any, context: Any) -> Any:
        return Empty()


async def serve() -> None:
    """Print the port and serve until the engine, which started this, ends it."""
    server = grpc.aio.server()
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Nothing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve())
