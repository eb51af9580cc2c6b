"""A model hub on loopback with the faults of real ones, chosen by the repository's name. Prints its port.
argv: folder of the served file "model.bin"; requests are appended to requests.log there, "METHOD PATH RANGE"."""
import http.server
import os
import sys

folder = sys.argv[1]
whole = open(os.path.join(folder, "model.bin"), "rb").read()
seen = set()


class Hub(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        asked = self.headers.get("Range")
        with open(os.path.join(folder, "requests.log"), "a") as log:
            log.write(f"GET {self.path} {asked}\n")
        fault = self.path.split("/")[2]
        first = fault not in seen
        seen.add(fault)
        body = whole
        if fault == "missing":
            return self.send_error(404)
        if fault == "redirect":
            self.send_response(302)
            self.send_header("Location", "/org/good/resolve/r1/model.bin")
            return self.end_headers()
        if fault == "wrong":
            body = bytes(len(whole))
        if fault == "short":
            body = whole[:1000]
        start = 0
        if asked and fault not in ("norange", "wrong"):
            start = int(asked.split("=")[1].rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if fault == "endless":
            self.end_headers()
            try:
                while True:
                    self.wfile.write(body)
            except OSError:
                return
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        cut = fault == "dead" or (first and fault in ("cut", "norange"))
        try:
            if fault == "full":
                self.wfile.write(rest[: len(rest) // 2])
                self.wfile.flush()
                with open(os.environ["FILL"], "wb", buffering=0) as filler:   # the disk fills up meanwhile
                    try:
                        while filler.write(bytes(4096)):
                            pass
                    except OSError:
                        pass
                rest = rest[len(rest) // 2 :]
            self.wfile.write(rest[: len(rest) // 2] if cut else rest)
        except OSError:
            pass
        self.close_connection = True


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
print(server.server_address[1], flush=True)
server.serve_forever()
