// The same with ten million datagrams.

process.env.FUZZ_PACKETS ??= '10000000'
await import('./tftp.fuzz.test.ts')
