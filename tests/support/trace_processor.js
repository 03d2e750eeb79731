// SPDX-License-Identifier: MIT
// Runs the trace processor of a Perfetto UI under Node: requests on stdin, replies on stdout, both in its own protocol.
//
// The UI starts its engine in a web worker, so this is as much of a worker as the engine needs.
// Argument: the folder with engine_bundle.js and the .wasm files.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const folder = process.argv[2];
const read = (url) => fs.readFileSync(path.join(folder, path.basename(String(url))));
const log = (...words) => process.stderr.write(words.join(" ") + "\n");

class FileRequest {
  open(_method, url) { this.url = url; }
  send() { this.response = new Bytes(read(this.url)).buffer; this.status = 200; }
}

const scope = {
  console: { log, warn: log, error: log, info: log, debug: log },
  TextDecoder, TextEncoder, URL, performance, setTimeout, clearTimeout, queueMicrotask, crypto,
  location: { href: "file:///engine_bundle.js" },
  WorkerGlobalScope: Object, importScripts: () => {},
  XMLHttpRequest: FileRequest,
  fetch: () => Promise.reject(new Error("the trace processor runs without a network")),
};
scope.self = scope;
scope.globalThis = scope;
const fail = (error) => { log(String(error && error.message || error).slice(0, 500)); process.exit(1); };
process.on("uncaughtException", fail);  // Node would print the whole engine, which is one line
process.on("unhandledRejection", fail);
vm.createContext(scope);
const Bytes = vm.runInContext("Uint8Array", scope);  // the engine checks for its own type
vm.runInContext(read("engine_bundle.js").toString(), scope);

const port = { postMessage: (reply) => process.stdout.write(Buffer.from(reply)), onmessage: null };
scope.self.onmessage({ data: port });
setTimeout(() => process.stdin.on("data", send), 0);

// The engine is ready when its memory is there; until then, requests wait.
let before = Promise.resolve();
function send(request) {
  before = before.then(async () => {
    for (let waited = 0; ; waited += 20) {
      try {
        return port.onmessage({ data: new Bytes(request) });
      } catch (error) {
        if (!/undefined|not ready|HEAPU8/.test(String(error)) || waited > 60_000) throw error;
        await new Promise((resume) => setTimeout(resume, 20));
      }
    }
  }).catch(fail);
}
