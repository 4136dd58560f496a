// Joins standard input and output to a loopback port: QEMU starts one for each connection that a machine makes to the
// address standing for our server.

import { connect } from 'node:net'

const socket = connect(Number(process.argv[2]), '127.0.0.1')
process.stdin.pipe(socket).pipe(process.stdout)
socket.on('error', () => process.exit(1))
socket.on('close', () => process.exit())
