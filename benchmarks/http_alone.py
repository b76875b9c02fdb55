"""The HTTP stack of `jaxcbm serve` with nothing behind it: what no server on it can surpass.

python -m benchmarks.http_alone

It reads each picture, answers as many bytes as a model's answer has, and computes nothing.
"""

import socket

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jaxcbm.serve.server import listen

ANSWER_BYTES = 1200


async def answer(request: Request) -> Response:
    """Something, once the whole body is there."""
    await request.body()
    return JSONResponse({"text": "x" * ANSWER_BYTES})


def main() -> None:
    """Serve until SIGTERM."""
    app = Starlette(
        routes=[Route("/v1/predict", answer, methods=["POST"]), Route("/readyz", answer)]
    )
    with listen("127.0.0.1", 0) as listener:
        # Without it the second of an answer's two writes waits 40 ms for the first one's receipt.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(f"listening at http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
