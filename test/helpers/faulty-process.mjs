// Loaded by `node --import` into the processes of a program: gives one of them a fault to find.
import { open } from 'node:fs/promises';
import { basename } from 'node:path';

const { FAULT: fault, FAULTY_SCRIPT: script } = process.env;
const dist = '../../dist';

/** Has `disturb` called with each client that lives whenever another one is lost. */
async function whenOneDies(disturb) {
  const { ServerSession } = await import(`${dist}/server/session.js`);
  const { start, teardown } = ServerSession.prototype;
  const sessions = new Set();
  ServerSession.prototype.start = function () {
    sessions.add(this);
    start.call(this);
  };
  ServerSession.prototype.teardown = function (error) {
    sessions.delete(this);
    const survivors = [...sessions].filter(({ isOpen, name }) => isOpen && /^client/.test(name));
    if (error.code === 'ERR_VERBENA_CONNECTION_LOST') survivors.forEach(disturb);
    return teardown.call(this, error);
  };
}

const faults = {
  /** Who dies takes others along. */
  'ends others with the dead': () => whenOneDies((survivor) => void survivor.close()),
  /** Who dies clears the memory of others. */
  'clears what others have': () => whenOneDies((survivor) => survivor.region.fill(0)),
  /** Every third queue pair, with all that belongs to it, is never closed. */
  async 'keeps queue pairs'() {
    const { QueuePair } = await import(`${dist}/rdma/queue-pair.js`);
    const { close } = QueuePair.prototype;
    const isKept = new Map();
    QueuePair.prototype.close = function () {
      if (!isKept.has(this)) isKept.set(this, isKept.size % 3 === 2);
      return isKept.get(this) ? Promise.resolve([]) : close.call(this);
    };
  },
  /** A file stays open for each session. */
  async 'keeps files'() {
    const { ServerSession } = await import(`${dist}/server/session.js`);
    const { start } = ServerSession.prototype;
    ServerSession.prototype.start = function () {
      void open('/dev/null').then((file) => (globalThis.kept ??= []).push(file));
      start.call(this);
    };
  },
  /** A few KiB of memory stay for each session. */
  async 'keeps memory'() {
    const { ServerSession } = await import(`${dist}/server/session.js`);
    const { start } = ServerSession.prototype;
    ServerSession.prototype.start = function () {
      (globalThis.kept ??= []).push(new Array(2048).fill(0));
      start.call(this);
    };
  },
  /** Clients that are silent are never given up. */
  async 'has all the patience'() {
    const { ControlChannel } = await import(`${dist}/handshake/control-channel.js`);
    ControlChannel.prototype.startKeepalive = () => undefined;
  },
  /** All sessions get the same packet sequence number. */
  async 'repeats numbers'() {
    const { PsnSet } = await import(`${dist}/handshake/psn.js`);
    PsnSet.prototype.draw = () => 4711;
  },
};

if (fault !== undefined && basename(process.argv[1] ?? '') === script) await faults[fault]();
