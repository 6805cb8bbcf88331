"""A page that greets."""

import http.server


class Greeting(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        # A login that reached it would be seen.
        visitor = self.headers.get("Authorization", "visitor")
        body = f"<!doctype html><title>Hello</title><h1>Hello, {visitor}</h1>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("", 8080), Greeting).serve_forever()
