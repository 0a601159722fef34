// What a run of the tests is told about its machine: the device to use, and how slow it is.

/** Another device may be named, to run the same tests on soft-RoCE or an adapter. */
export const testDevice = process.env['VERBENA_TEST_DEVICE'] ?? 'soft';

/** Limits of tests are for a machine at full speed; on a slow one each counts this many times. */
export const timeScale = Number(process.env['VERBENA_TEST_TIME_SCALE'] ?? 1);
