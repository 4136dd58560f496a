// The same with a MiB each.

process.env.TFTP_BYTES ??= String(2 ** 20)
await import('./many.test.ts')
