"""The public internet, as far as it is emulated for a machine: whether a host could be reached."""

from __future__ import annotations

from werkzeug.wrappers import Request, Response

from sandbox.aws.account import Account, unreachable
from sandbox.aws.cloud import CloudError
from sandbox.aws.serve import Application, NoAnswer

_USAGE = "GET /reach?host=HOST&port=PORT\n"


def internet(account: Account, instance_id: str) -> Application:
    """`GET /reach?host=H&port=P`: 200, or 504 with curl's message, by the emulator's routes and rules.

    Names are not resolved: a subnet's resolver answers for public names even where no route leads out.
    """

    def answer(request: Request) -> Response:
        host, port = request.args.get("host", ""), request.args.get("port", "")
        valid = request.path == "/reach" and request.method == "GET" and host
        if not valid or not port.isdecimal() or not 0 < int(port) < 65536:
            return _text(400, _USAGE)
        try:
            instance = account.cloud.running(instance_id)
            if instance is None:
                raise NoAnswer("the instance is off")
            if account.network.reaches_internet(instance, int(port)):
                return _text(200, "reached")
        except CloudError as error:
            return _text(503, str(error))
        return _text(504, unreachable(host, int(port)))

    application: Application = Request.application(answer)
    return application


def _text(status: int, text: str) -> Response:
    return Response(text, status=status, content_type="text/plain")
