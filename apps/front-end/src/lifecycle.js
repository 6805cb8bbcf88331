// From SIGTERM to exit without a lost request.
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * draining: the process was told to stop. It still accepts connections for `drainMs`, because
 * Kubernetes takes a moment to tell every proxy, but ends each connection after its next answer.
 */
export class Lifecycle {
  draining = false;
  #server;
  #stopped;
  #callbacks = [];

  /** Has `callback` called when the process is told to stop, for answers that don't end by themselves. */
  whenDraining(callback) {
    this.#callbacks.push(callback);
  }

  /** Has the server end connections while draining. */
  attach(server) {
    this.#server = server;
    server.prependListener('request', (_request, response) => {
      if (this.draining) response.setHeader('Connection', 'close');
      // An answer begun before the signal promised to keep its connection open.
      response.once('close', () => {
        if (this.draining && !server.listening) setImmediate(() => server.closeIdleConnections());
      });
    });
  }

  /**
   * Resolves to true when every request was answered, to false when some were cut. Both times, in
   * milliseconds, count from now.
   */
  stop({ drainMs, gracefulTimeoutMs }) {
    this.#stopped ??= this.#stop(drainMs, gracefulTimeoutMs);
    return this.#stopped;
  }

  async #stop(drainMs, gracefulTimeoutMs) {
    this.draining = true;
    for (const callback of this.#callbacks) callback();
    await sleep(drainMs);
    const closed = new Promise((resolve) => this.#server.close(() => resolve(true)));
    this.#server.closeIdleConnections();
    const deadline = sleep(gracefulTimeoutMs - drainMs, false);
    const complete = await Promise.race([closed, deadline]);
    if (!complete) this.#server.closeAllConnections();
    return complete;
  }
}
