// Makes a machine ready: system packages and npm dependencies, for what is to be done.
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Failure, headerEnvironment, main, must, root, run } from './lib/run.mjs';

// `program` is looked for in PATH, `file` on disk; either tells that the package is installed.
const forQuickstart = [
  { program: 'g++', apt: 'g++', dnf: 'gcc-c++' },
  { program: 'make', apt: 'make', dnf: 'make' },
  { program: 'python3', apt: 'python3', dnf: 'python3' },
  { file: '/usr/include/infiniband/verbs.h', apt: 'libibverbs-dev', dnf: 'rdma-core-devel' },
];
const forTest = [
  ...forQuickstart,
  { program: 'cmake', apt: 'cmake', dnf: 'cmake' },
  { program: 'ninja', apt: 'ninja-build', dnf: 'ninja-build' },
  { file: '/usr/include/gtest/gtest.h', apt: 'libgtest-dev', dnf: 'gtest-devel' },
  { program: 'clang-format', apt: 'clang-format', dnf: 'clang-tools-extra' },
  { program: 'clang-tidy', apt: 'clang-tidy', dnf: 'clang-tools-extra' },
  { program: 'ibv_devinfo', apt: 'ibverbs-utils', dnf: 'libibverbs-utils' },
  { program: 'ib_write_bw', apt: 'perftest', dnf: 'perftest' },
  {
    file: '/usr/share/doc/rdma-core/tests/run_tests.py',
    apt: 'python3-pyverbs',
    dnf: 'python3-pyverbs',
  },
  { program: 'ip', apt: 'iproute2', dnf: 'iproute' },
  { program: 'tshark', apt: 'tshark', dnf: 'wireshark-cli' },
  { program: 'openssl', apt: 'openssl', dnf: 'openssl' },
];

const needsOf = {
  quickstart: forQuickstart,
  test: forTest,
  fuzz: [
    ...forTest,
    { program: 'clang++', apt: 'clang', dnf: 'clang' },
    {
      file: '/usr/share/doc/libclang-rt-dev/copyright',
      apt: 'libclang-rt-dev',
      dnf: 'compiler-rt',
    },
  ],
  instructions: [...forTest, { program: 'valgrind', apt: 'valgrind', dnf: 'valgrind' }],
  browser: [
    ...forTest,
    {
      program: 'chromium-headless-shell',
      apt: 'chromium-headless-shell',
      dnf: 'chromium-headless',
    },
  ],
};

function inPath(program) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function isInstalled({ program, file }) {
  return program === undefined ? existsSync(file) : inPath(program);
}

async function installPackages(needs) {
  const missing = needs.filter((need) => !isInstalled(need));
  if (missing.length === 0) return;
  const names = (manager) => [...new Set(missing.map((need) => need[manager]))];
  if (process.getuid() !== 0 || !inPath('apt-get')) {
    throw new Failure(
      'packages are missing, and only root with apt-get can have them installed here.\n' +
        `  Debian, Ubuntu:  sudo apt-get install ${names('apt').join(' ')}\n` +
        `  Fedora, RHEL:    sudo dnf install ${names('dnf').join(' ')}\n` +
        'Then run the same command again.',
    );
  }
  console.error(`installing ${names('apt').join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const install = ['install', '-y', '-qq', '--no-install-recommends', ...names('apt')];
  await must('apt-get', ['update', '-qq'], { env });
  await must('apt-get', install, { env });
  const still = missing.filter((need) => !isInstalled(need));
  if (still.length > 0) {
    throw new Failure(
      `apt-get installed ${still.map((need) => need.apt).join(', ')}, yet it is not found`,
    );
  }
}

// npm writes node_modules/.package-lock.json at the end of every successful install.
function dependenciesAreCurrent() {
  const lock = join(root, 'package-lock.json');
  const installed = join(root, 'node_modules', '.package-lock.json');
  return existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs;
}

async function installDependencies() {
  if (dependenciesAreCurrent()) return;
  console.error('installing npm dependencies');
  const { code } = await run('npm', ['ci', '--no-audit', '--no-fund'], {
    env: headerEnvironment(),
  });
  if (code !== 0) {
    throw new Failure(
      'npm ci failed (see above); check the network and the npm registry, then retry',
    );
  }
}

/** Installs what a purpose (of `needsOf`) needs; touches no network when all is there. */
export async function setup(purpose) {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 17)) {
    throw new Failure(`Node ${process.versions.node} is too old: install Node 20.17 or newer`);
  }
  await installPackages(needsOf[purpose]);
  await installDependencies();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(([purpose = 'test']) => setup(purpose));
}
