// What a test needs and this machine has not: where everything is required, as in CI, the test fails; elsewhere it is skipped.
// `LAKEGATE_REQUIRE_ALL=1` requires everything, and `=0` does not, also where `CI` is set; tests/acceptance/required.py is the same.
const named = [process.env.LAKEGATE_REQUIRE_ALL, process.env.CI].find((value) => value !== undefined) ?? '';
const isRequired = !['', '0', 'false'].includes(named);

/** The reason why a test is skipped, if there is one and that may be. */
export function skipFor(reason) {
  if (reason && isRequired) throw new Error(`everything is required here: ${reason}`);
  return reason;
}
