"""aiohttp: python3 aiohttp_app.py [PORT]"""

import asyncio
import sys

from aiohttp import web


async def hello(request):
    return web.Response(text="hello from the enclave\n")


async def upper(request):
    return web.Response(text=(await request.text()).upper())


async def slow(request):
    await asyncio.sleep(0.05)
    return web.Response(text="slow\n")


async def chat(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data[::-1])
    return socket


def main():
    app = web.Application(client_max_size=16 << 20)
    app.add_routes([web.get("/", hello), web.post("/upper", upper), web.get("/slow", slow), web.get("/chat", chat)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8080)


if __name__ == "__main__":
    main()
