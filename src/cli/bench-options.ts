// The options of `verbena bench`, their help and examples; its code is loaded on use.
import { Command, InvalidArgumentError, Option } from 'commander';
import { arrivalKinds } from '../bench/plan.js';
import { operationNames, parseMix, type Mix } from '../bench/workload.js';
import { messageOf } from '../errors.js';
import type { BenchOptions } from './bench-command.js';
import type { CompareOptions } from './bench-compare-command.js';
import { byteRange, decimal, integer, steps, type SetExitCode } from './option-parsers.js';

function mix(text: string): Mix {
  try {
    return parseMix(text);
  } catch (error) {
    throw new InvalidArgumentError(`${messageOf(error)}.`);
  }
}

const longestSeconds = 1_000_000;
const mostBytes = 2 ** 26;

function withClients(command: Command): Command {
  return command
    .option('--clients <n>', 'client processes', integer(1, 1000), 1)
    .option(
      '--client-threads <n>',
      'threads of each client, each with an id, connections and a histogram of its own; ' +
        '0: as --clones says',
      integer(0, 256),
      0,
    )
    .option('--clones <n>', 'the older name for threads of each client', integer(1, 256), 1)
    .option('--base-client-id <n>', 'id of the first thread', integer(0, 2 ** 31 - 1), 0)
    .option('--connections <n>', 'connections of each thread', integer(1, 10_000), 1)
    .option('--depth <n>', 'operations under way on each connection', integer(1, 1024), 1)
    .option(
      '--client-instance-pools <n>',
      'pools of client instances of each client, each in a thread with an id and a histogram of ' +
        'its own (default: none; 1 with one of the next three)',
      integer(1, 256),
    )
    .option(
      '--client-instances-per-pool <n>',
      'client instances that a pool lends, to one thread each (default: 1)',
      integer(1, 10_000),
    )
    .option(
      '--connections-per-instance <n>',
      'connections that an instance opens as it needs them (default: 1)',
      integer(1, 10_000),
    )
    .option(
      '--threads-per-pool <n>',
      'threads that share a pool: loops that borrow an instance for each round of operations ' +
        '(default: as many as instances)',
      integer(1, 10_000),
    );
}

function withLoad(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--workload <mix>',
        `${operationNames.join(', ')}, or several by weight: echo=70,read=30`,
      )
        .argParser(mix)
        .default(parseMix('echo'), 'echo'),
    )
    .addOption(
      new Option(
        '--bytes <n>',
        'payload of each operation, fixed or drawn from a range: 64..4KiB (default: 64)',
      ).argParser(byteRange(mostBytes)),
    )
    .option(
      '--duration <s>',
      'seconds that operations are begun (default: 10)',
      decimal(0.001, longestSeconds),
    )
    .option('--count <n>', 'operations of the whole run, instead of --duration', integer(1, 1e12))
    .option('--warm-up <s>', 'seconds before that which are not measured', decimal(0, 100_000), 0)
    .option(
      '--rate <n>',
      'open loop: so many operations a second are begun in the whole run, whatever becomes of ' +
        'them; latency counts from the planned time',
      decimal(0.001, 1e9),
    )
    .addOption(
      new Option('--arrivals <kind>', 'how they are spread (default: constant)').choices(
        arrivalKinds,
      ),
    )
    .option('--verify', 'compare every answer with what it should be', false)
    .option('--phases', 'tell where the time of some requests went, from client to handler', false)
    .option('--phase-sample <n>', 'of one request in so many (default: 64)', integer(1, 1_000_000))
    .option('--timeout <ms>', 'a request that takes longer has failed', integer(1, 3_600_000), 5000)
    .option('--seed <n>', 'repeats the random choices of a run', integer(0, 2 ** 32 - 1), 1);
}

function withSeries(command: Command): Command {
  return command
    .addOption(
      new Option('--sweep <range>', 'a run for each size, doubled: 1..16MiB').argParser(
        byteRange(mostBytes),
      ),
    )
    .option(
      '--rate-steps <rates>',
      'a run for each rate, up to the knee and beyond: 1000..64000 doubles, 1000..8000:1000 has ' +
        'even steps',
      steps(0.001, 1e9),
    )
    .option('--runs <n>', 'so many runs of the same, to know the noise', integer(2, 1000))
    .option('--csv <file>', 'write a line for each run')
    .option('--hdr <file>', 'write an HdrHistogram log with a histogram for each second')
    .option('--html <file>', 'write a report: one page with charts, for light and dark');
}

function compare(setExitCode: SetExitCode): Command {
  return new Command('compare')
    .summary('say what changed between two sets of results')
    .description(
      'Compares the medians of runs with the same load. A change counts when it is over the ' +
        'threshold and the runs of the two sides do not overlap. The exit status is 1 when ' +
        'something became worse.',
    )
    .argument('<before>', 'file that `verbena bench --json` printed, one run or several')
    .argument('<after>', 'the other')
    .option('--threshold <percent>', 'smaller changes do not count', decimal(0, 1000), 5)
    .option('--json', 'print one JSON object and nothing else', false)
    .action(async (before: string, after: string, options: CompareOptions) => {
      const { compareCommand } = await import('./bench-compare-command.js');
      setExitCode(await compareCommand(before, after, options));
    });
}

const examples = `
Examples:
  verbena bench 127.0.0.1 --ca dev/ca.pem --device soft --duration 5
  verbena bench server:4791 --ca ca.pem --clients 4 --client-threads 4 --depth 16 --json
  verbena bench server --ca ca.pem --rate 20000 --arrivals poisson --warm-up 2
  verbena bench server --ca ca.pem --sweep 1..16MiB --duration 2 --csv sizes.csv
  verbena bench compare before.json after.json --threshold 10
  verbena bench server --ca ca.pem --workload echo=50,read=30 --bytes 64..4KiB --verify`;

export function bench(setExitCode: SetExitCode): Command {
  const command = new Command('bench')
    .summary('put a load on a server and measure throughput and latency')
    .description(
      'Starts client processes with threads, each with connections, a loop and a histogram of ' +
        'its own, and merges what they measured. A closed loop begins an operation when one ' +
        'before it has ended; an open loop (--rate) begins them at planned times.',
    )
    .argument('<host[:port]>', 'server to load; an IPv6 address goes in brackets')
    .option('--ca <file>', 'certificate of the authority that signed the server, PEM')
    .option('--insecure', 'do not verify the server: anyone may answer', false)
    .option('--device <name>', 'soft, the name of an RDMA device, or auto', 'auto')
    .option('--soft-addr <ip>', 'local IP address of the soft device, for a single client');
  return withSeries(withLoad(withClients(command)))
    .option('--stop-on-errors <percent>', 'stop when more operations fail', decimal(0, 100), 50)
    .option('--highest-latency <s>', 'longer ones are counted as this', decimal(0.001, 86_400), 60)
    .option('--digits <n>', 'significant digits of latencies', integer(1, 5), 3)
    .option('--plan <file>', 'file with clients and any of these options; flags win over it')
    .option('--no-progress', 'no line for each second, which only a terminal gets anyway')
    .option('--json', 'print one JSON object on stdout, all else on stderr', false)
    .addHelpText('after', examples)
    .action(async (target: string, { plan: path }: BenchOptions, self: Command) => {
      const { benchCommand } = await import('./bench-command.js');
      const { readPlan } = await import('./bench-plan-file.js');
      const plan = await readPlan(self, path);
      setExitCode(await benchCommand(target, self.opts(), plan));
    })
    .addCommand(compare(setExitCode).copyInheritedSettings(command));
}
