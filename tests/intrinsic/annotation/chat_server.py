"""A server with the shape of an OpenAI-compatible endpoint, for a process of its own: prints its port, then a line for
each request. What it does is in the first part of the path."""

import json
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

failures = {"busy": 2}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        how = self.path.split("/")[1]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers.get("Authorization", "")
        print(json.dumps({"path": self.path, "body": body, "key": key}), flush=True)
        if how == "slow":
            time.sleep(5)
        if how == "drop":
            self.connection.close()
            return
        if how == "busy" and failures["busy"]:
            failures["busy"] -= 1
            self.answer(503, b"{}")
        elif how in ("broken", "unknown"):
            self.answer(500 if how == "broken" else 404, b"no")
        elif how == "moved":
            self.send_response(307)
            self.send_header("Location", "/right/v1/chat/completions")
            self.end_headers()
        elif how == "garbage":
            self.answer(200, b'{"choices": [{"message": {"content": 7}}]}')
        elif how == "nonsense":
            self.answer(200, b"<html>\xff")
        else:
            self.answer(200, json.dumps({"choices": [{"message": {"content": reply(body)}}]}).encode())

    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        """Only what tests read is printed."""


def reply(body):
    """Labels kills; prefers the longer of two messages; mumbles about mumbles."""
    prompt = body["messages"][1]["content"]
    message = re.findall("<message>(.*?)</message>", prompt)
    if message:
        return f"<meaning>hm</meaning><label>{'FOO' if 'You kill' in message[-1] else 'BAR'}</label>"
    first, second = re.findall("<message_.>(.*?)</message_.>", prompt)
    if "mumble" in first:
        return "mumble"
    return f"I say <best>{'None' if len(first) == len(second) else 1 + (len(second) > len(first))}</best>"


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
