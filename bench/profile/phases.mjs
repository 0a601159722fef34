// Which phase of a request a stack of a profile belongs to.

/** A function of the stack under which threads watch for completions, and mostly find none. */
const WATCHING = /^verbena::addon::PollGroup::spin/;
/** What the kernel does for a packet that was there. */
const TAKING = /^(skb_consume_udp|_copy_to_iter|__skb_datagram_iter|put_cmsg|udp_cmsg_recv)/;
/** What of a watching thread is done for packets or completions that it found. */
const FOUND = new Set([
  'transport: the engine',
  'wire: headers and check sums',
  'kernel: sending, and delivery on loopback',
]);

const SLEEPING = /^(__schedule|do_sched_yield|eventfd_|__(x64_)?sys_(futex|epoll|p?poll))/;

/** Phases in the order of the way of a request; a function belongs to the first that fits it. */
const rules = [
  ['the caller, or the handler', /file:\/\/\S*\/bench\//],
  ['request and its promise', /file:\/\/\S*\/(requester|request-table|client\/\S*)\.js/],
  ['messages into SENDs, credits', /file:\/\/\S*\/(send-queue|header|credits|work-queue)\.js/],
  ['completions to messages', /file:\/\/\S*\/(endpoint|poll-group|queue-pair)\.js/],
  ['handler called, answer sent', /file:\/\/\S*\/(responder|admission\/\S*|workers\/\S*)\.js/],
  ['promise reactions', /^Builtins_RunMicrotasks/],
  ['garbage collection', /Scaveng|Heap::CollectGarbage|MarkCompact|Sweeper|Marking|GCTracer/],
  ['N-API', /^napi_|^Napi::|^v8impl|node::InternalCallbackScope|node::InternalMakeCallback/],
  ['addon: posts and completions', /^verbena::(addon|verbs)::/],
  ['soft device: queues, lock, batches', /^verbena::(soft|io)::/],
  ['transport: the engine', /^verbena::engine::/],
  ['wire: headers and check sums', /^verbena::wire::/],
  ['kernel: sending, and delivery on loopback', /^(__(x64_)?sys_send|process_backlog)/],
  ['kernel: receiving', /^__(x64_)?sys_recv/],
  ['sleeping, waking, giving way', SLEEPING],
  ['event loop', /^uv_/],
];
const watching = 'watching for packets and completions';
const other = 'everything else';

export const phaseNames = [...rules.map(([name]) => name), watching, other];

/** The phase of the innermost function that has one. */
function innermost(stack) {
  for (const frame of stack) {
    const rule = rules.find(([, pattern]) => pattern.test(frame));
    if (rule !== undefined) return rule[0];
  }
  return other;
}

/** Where a stack belongs, its innermost function first. */
export function phaseOf(stack) {
  const phase = innermost(stack);
  const at = stack.findIndex((frame) => WATCHING.test(frame));
  if (at === -1 || FOUND.has(phase)) return phase;
  // Whatever is called from there but is no part of the device is no watching.
  if (!/^(addon|soft|kernel: receiving|sleeping)/.test(phase)) return phase;
  return stack.some((frame) => TAKING.test(frame)) ? phase : watching;
}

/** Stacks, innermost function first, from what `perf script` prints. */
export function stacksIn(text) {
  const stacks = text
    .split('\n\n')
    .map((block) => [...block.matchAll(/^\s+[0-9a-f]+ (.+)$/gm)].map(([, name]) => name));
  return stacks.filter((stack) => stack.length > 0);
}
