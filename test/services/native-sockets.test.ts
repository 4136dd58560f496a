// What the kernel tells of real sockets. Links and pairs are tested where they are used (listen.test.ts), filters in socket-filter.test.ts.

import { once } from 'node:events'
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import t from 'tap'
import { loadNative } from '../../services/native-sockets.ts'

const native = await loadNative()
const fdOf = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd

t.test('a TCP connection’s segments, and none of what is no connection', async (t) => {
  if (!native) return t.fail('koffi is missing')
  const server = createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [Socket]
  t.teardown(() => [client, socket].forEach((end) => end.destroy()))
  client.resume()
  const before = native.segments(fdOf(socket))
  await new Promise<void>((sent) => socket.write(Buffer.alloc(2 ** 24), () => sent()))
  const after = native.segments(fdOf(socket))
  t.equal(before?.resent, 0)
  // Some of it may still lie in the socket.
  t.ok(after!.sent - before!.sent >= 2 ** 22 / 65_536, `${after?.sent} segments`)
  // Nothing is lost here, but a busy machine's acknowledgements may come too late for TCP.
  t.ok(after!.resent < after!.sent / 10, `${after?.resent} sent again`)
  t.equal(native.segments(0), null, 'stdin is no connection')
})
