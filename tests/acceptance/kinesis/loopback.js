// Preloaded into servers that have no option for the address on which they listen, and would take all of them: whatever
// they ask for, they get a port of the loopback interface.
"use strict";

const { Server } = require("node:net");

const listen = Server.prototype.listen;
Server.prototype.listen = function (port, ...rest) {
  const callback = rest.find((argument) => typeof argument === "function");
  return listen.call(this, { port: Number(port), host: "127.0.0.1" }, callback);
};
