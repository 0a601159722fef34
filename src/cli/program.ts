// The commands of `verbena` with their options, help and examples; their code is loaded on use.
import { Command, Option } from 'commander';
import { flagOf, serveSettings, type Setting } from '../config/settings.js';
import { packageVersion } from '../native/package.js';
import { scenarios } from '../stress/scenarios/index.js';
import { bench } from './bench-options.js';
import type { DemoCommandOptions } from './demo/command.js';
import { integer, type SetExitCode } from './option-parsers.js';
import type { PingOptions } from './ping-command.js';
import type { ProbeLimitsOptions } from './probe-limits-command.js';
import type { RunOptions } from './run-command.js';
import type { StressOptions } from './stress-command.js';

/** A flag for each setting of a server, and one for a file with any of them. */
function withSettings(command: Command): Command {
  for (const setting of serveSettings as readonly Setting[]) {
    const argument = setting.kind === 'text' ? setting.key.toUpperCase() : setting.kind;
    const usual = setting.default === undefined ? '' : `, default: ${setting.default}`;
    const help = `${setting.help} (env: ${setting.env}${usual})`;
    command.addOption(new Option(`${flagOf(setting.key)} <${argument.toLowerCase()}>`, help));
  }
  return command.option(
    '--config <file>',
    'JSON file with any of these settings, by their camelCase names',
  );
}

function serve(setExitCode: SetExitCode): Command {
  const command = new Command('serve')
    .summary('serve clients: echo their requests, lend them memory')
    .description(
      'Serves clients over TLS and RDMA until SIGTERM or SIGINT: requests are echoed, and each ' +
        'client gets a region of memory to write, read and count in. A second signal ends it at ' +
        'once.',
    );
  return withSettings(command)
    .addHelpText(
      'after',
      `
Examples:
  verbena serve --device soft --dev-cert ./dev          a first server on this machine
  verbena serve --host 0.0.0.0 --cert c.pem --key k.pem  for others, with a certificate of your own
  verbena serve --handler ./handler.mjs --workers auto   your own answers, in threads
  VERBENA_MAX_CONNECTIONS=50 verbena serve --config verbena.json`,
    )
    .action(async (flags: Record<string, string>) => {
      const { serveCommand } = await import('./serve-command.js');
      setExitCode(await serveCommand(flags));
    });
}

function config(setExitCode: SetExitCode): Command {
  const command = new Command('config')
    .summary('show what serve would run with, and where each value comes from')
    .description(
      'Prints every setting that `verbena serve` would have with the same flags, environment and ' +
        'file, and which of those it comes from. Starts nothing; what is not allowed is told at ' +
        'once, all of it.',
    );
  return withSettings(command)
    .option('--json', 'print one JSON object and nothing else', false)
    .addHelpText(
      'after',
      `
Examples:
  verbena config
  verbena config --config verbena.json --max-connections 500 --json`,
    )
    .action(async (flags: Record<string, unknown>) => {
      const { configCommand } = await import('./config-command.js');
      setExitCode(await configCommand(flags));
    });
}

function ping(setExitCode: SetExitCode): Command {
  return new Command('ping')
    .summary('time echo requests to a server')
    .description(
      'Connects to a server, sends echo requests, prints the time of each and a summary.',
    )
    .argument('<host[:port]>', 'server to ask; an IPv6 address goes in brackets')
    .option('--ca <file>', 'certificate of the authority that signed the server, PEM')
    .option('--insecure', 'do not verify the server: anyone may answer', false)
    .option('--device <name>', 'soft, the name of an RDMA device, or auto', 'auto')
    .option('--soft-addr <ip>', 'local IP address of the soft device')
    .option('-c, --count <n>', 'requests to send', integer(1, 1_000_000_000), 5)
    .option('-s, --size <bytes>', 'bytes in each request', integer(0, 2 ** 26), 56)
    .option('-i, --interval <ms>', 'milliseconds between requests', integer(0, 3_600_000), 1000)
    .option('--json', 'print one JSON object at the end and nothing else', false)
    .addHelpText(
      'after',
      `
Examples:
  verbena ping 127.0.0.1 --ca dev/ca.pem --device soft
  verbena ping server.example:4791 --count 1000 --interval 0 --size 4096
  verbena ping [::1]:4791 --ca dev/ca.pem --json`,
    )
    .action(async (target: string, options: PingOptions) => {
      const { pingCommand } = await import('./ping-command.js');
      setExitCode(await pingCommand(target, options));
    });
}

function run(setExitCode: SetExitCode): Command {
  return new Command('run')
    .summary('run any verbs program on the soft device')
    .description(
      'Runs a program with the soft device preloaded in place of libibverbs. The exit status and ' +
        'signals pass through.',
    )
    .argument('<program>', 'the program, after --')
    .argument('[args...]', 'its arguments')
    .option('--addr <ip>', 'local IP address of the soft device (VERBENA_SOFT_ADDR)')
    .option('--faults <spec>', 'faults to inject (VERBENA_SOFT_FAULTS)')
    .option('--pcap <file>', 'capture every packet (VERBENA_SOFT_PCAP)')
    .option('--stats', 'at the end, print on stderr what the device counted')
    .passThroughOptions()
    .addHelpText(
      'after',
      `
Examples:
  verbena run -- ibv_devinfo -v
  verbena run --addr 127.0.0.2 -- ibv_rc_pingpong -g 0
  verbena run --faults drop=0.01,seed=7 --pcap lossy.pcap -- ib_write_bw`,
    )
    .action(async (program: string, args: string[], options: RunOptions) => {
      const { runProgram, runWithStats } = await import('./run-command.js');
      const start = options.stats === true ? runWithStats : runProgram;
      setExitCode(await start(program, args, options));
    });
}

function demo(setExitCode: SetExitCode): Command {
  return new Command('demo')
    .summary('see a server and many client processes work, checked to the byte')
    .description(
      'Starts one server and N client processes. Each client connects over TLS, sends requests, ' +
        'uses its memory on the server, sends one large payload both ways and leaves. The exit ' +
        'status is 0 only if every byte and counter was right and nothing is left registered.',
    )
    .option('--device <name>', 'soft, the name of an RDMA device, or auto', 'soft')
    .option('--clients <n>', 'client processes', integer(1, 200), 10)
    .option('--requests <n>', 'echo requests of each client', integer(1, 1_000_000), 500)
    .option('--size <bytes>', 'length of the large payload', integer(1, 2 ** 26), 8 * 2 ** 20)
    .option('--json', 'print one JSON object on stdout, all else on stderr', false)
    .addHelpText('after', '\nExamples:\n  verbena demo\n  verbena demo --clients 50 --json')
    .action(async (options: DemoCommandOptions) => {
      const { demoCommand } = await import('./demo/command.js');
      setExitCode(await demoCommand(options));
    });
}

function probe(setExitCode: SetExitCode): Command {
  return new Command('probe-limits')
    .summary('find out how many clients a device has room for')
    .description(
      'Creates protection domains, completion queues, memory regions and whole sessions until ' +
        'the device refuses, releases them, and shows what it reports beside what it gave. ' +
        'What others use meanwhile is missing.',
    )
    .option('--device <name>', 'soft, the name of an RDMA device, or auto', 'auto')
    .option('--soft-addr <ip>', 'local IP address of the soft device')
    .option('--most <n>', 'objects of each kind to try', integer(1, 1_048_576), 4096)
    .option('--region-bytes <bytes>', 'region of each session', integer(0, 2 ** 40), 8192)
    .option('--write <file>', 'set device and maxConnections in this configuration file')
    .option('--json', 'print one JSON object and nothing else', false)
    .addHelpText(
      'after',
      `
Examples:
  verbena probe-limits --device soft
  verbena probe-limits --device mlx5_0 --most 20000 --write verbena.json`,
    )
    .action(async (options: ProbeLimitsOptions) => {
      const { probeLimitsCommand } = await import('./probe-limits-command.js');
      setExitCode(await probeLimitsCommand(options));
    });
}

function stressHelp(): string {
  const lines = scenarios.map(({ name, summary, usual }) => {
    const options = Object.entries(usual).map(([key, value]) => `--${key} ${value}`);
    return `  ${name.padEnd(12)}${summary}\n${' '.repeat(14)}${options.join(' ')}`;
  });
  return `
Scenarios, with the options that each takes:
${lines.join('\n')}

Examples:
  verbena stress concurrent
  verbena stress sequential --device rxe0 --json
  verbena stress herd server.example:4791 --ca ca.pem --clients 500`;
}

function stress(setExitCode: SetExitCode): Command {
  const command = new Command('stress')
    .summary('play a scenario with many clients and judge what happens')
    .description(
      'Plays a scenario and judges it: packet sequence numbers unique, data equal, no error that ' +
        'was not provoked, nothing left registered. Without HOST it starts a server of its own ' +
        'and looks into it too; of a server that is given it judges what clients see.',
    )
    .argument('<scenario>', 'what to play, see below')
    .argument('[host[:port]]', 'server to play it against; an IPv6 address goes in brackets')
    .option('--ca <file>', 'certificate of the authority that signed the server, PEM')
    .option('--insecure', 'do not verify the server: anyone may answer', false)
    .option(
      '--device <name>',
      'soft, the name of an RDMA device, or auto (default: soft; with HOST: auto)',
    );
  for (const [flags, help, most] of [
    ['--clients <n>', 'clients at once', 100_000],
    ['--requests <n>', 'echo requests of each client', 1_000_000],
    ['--size <bytes>', 'length of the large payload of each client', 2 ** 26],
    ['--cycles <n>', 'connections made and closed', 100_000_000],
    ['--seconds <n>', 'how long it goes on', 1_000_000],
    ['--deaths <n>', 'clients that come to a bad end', 1_000_000],
    ['--slow <n>', 'for a slow machine: limits of time count n times', 100],
  ] as const) {
    command.option(flags, help, integer(1, most));
  }
  return command
    .option('--seed <n>', 'repeats the random choices of an earlier run', integer(0, 2 ** 32 - 1))
    .option('--json', 'print one JSON object on stdout, all else on stderr', false)
    .addHelpText('after', stressHelp())
    .action(async (scenario: string, target: string | undefined, options: StressOptions) => {
      const { stressCommand } = await import('./stress-command.js');
      setExitCode(await stressCommand(scenario, target, options));
    });
}

/** The whole program. Errors of usage are thrown as CommanderError. */
export function createProgram(setExitCode: SetExitCode): Command {
  const program = new Command('verbena')
    .description('An RDMA server for Node.js, with a RoCEv2 device of its own.')
    .version(packageVersion())
    .enablePositionalOptions()
    .exitOverride()
    .showHelpAfterError('Run with --help for the options and examples.')
    .addHelpText('after', '\nStart here:\n  verbena demo');
  for (const make of [serve, config, ping, run, demo, stress, bench, probe]) {
    program.addCommand(make(setExitCode).copyInheritedSettings(program));
  }
  return program;
}
