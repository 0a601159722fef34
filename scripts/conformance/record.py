"""Runs rdma-core's tests and writes what became of each as a line of JSON.

record.py TESTS REPORT [OPTIONS OF run_tests.py]

A test is written down when it starts too, so that one which never ends is known by name.
"""

import importlib.util
import json
import sys
import unittest

tests_folder, report_path = sys.argv[1:3]
del sys.argv[1:3]
sys.path.insert(0, tests_folder)
report = open(report_path, 'w', encoding='utf-8')


class Recorder(unittest.TextTestResult):
    def write(self, test, outcome, reason=''):
        line = {'test': test.id(), 'outcome': outcome, 'reason': str(reason)}
        print(json.dumps(line), file=report, flush=True)

    def startTest(self, test):
        super().startTest(test)
        self.write(test, 'started')

    def addSuccess(self, test):
        super().addSuccess(test)
        self.write(test, 'passed')

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.write(test, 'skipped', reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.write(test, 'failed', err[1])

    def addError(self, test, err):
        super().addError(test, err)
        self.write(test, 'failed', err[1])


def load_tests_module():
    spec = importlib.util.spec_from_file_location('tests', f'{tests_folder}/__init__.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules['tests'] = module
    spec.loader.exec_module(module)
    return module


module = load_tests_module()
module.parser.parse_args()
unittest.main(module=module, testRunner=unittest.TextTestRunner(resultclass=Recorder, verbosity=2))
