"""A gRPC client of pilotage.demo.Echo in another implementation than the Rust one.

Usage: echo_client.py TARGET [AUTHORITY]. It reads one JSON request a line, {"count": 3, "headers": [["name", "value"]]},
makes the calls one after another over its one channel, and answers each request with one JSON line.
"""

import collections
import json
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def messages():
    """The message classes of the service, from a definition that is made here."""
    file = descriptor_pb2.FileDescriptorProto(name="echo.proto", package="pilotage.demo", syntax="proto3")
    string = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
    optional = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    for name, fields in {"CallRequest": ["text"], "CallResponse": ["server_id", "version"]}.items():
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields, start=1):
            message.field.add(name=field, number=number, type=string, label=optional)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return [
        message_factory.GetMessageClass(pool.FindMessageTypeByName("pilotage.demo." + name))
        for name in ("CallRequest", "CallResponse")
    ]


def main():
    target, *authority = sys.argv[1:]
    options = [("grpc.default_authority", name) for name in authority]
    request_class, response_class = messages()
    with grpc.insecure_channel(target, options=options) as channel:
        call = channel.unary_unary(
            "/pilotage.demo.Echo/Call",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )
        for line in sys.stdin:
            request = json.loads(line)
            headers = [tuple(header) for header in request["headers"]]
            servers, versions, failures = collections.Counter(), collections.Counter(), []
            for _ in range(request["count"]):
                try:
                    response = call(request_class(text="hello"), metadata=headers, timeout=10)
                    servers[response.server_id] += 1
                    versions[response.version] += 1
                except grpc.RpcError as error:
                    failures.append(f"{error.code().name}: {error.details()}")
            answer = {"servers": servers, "versions": versions, "failed": len(failures)}
            answer["first_failure"] = failures[0] if failures else None
            print(json.dumps(answer), flush=True)


main()
