// The same with a million strings.

process.env['FUZZ_STRINGS'] ??= '1000000'
await import('./scripts.fuzz.test.ts')
