// SPDX-License-Identifier: Apache-2.0
//
// A Minecraft Java server without a world, in offline mode: it keeps whoever joins and tells them the time 20 times a
// second. Writes one JSON object a line: ready, join (with the address that it sees), leave (with the moves it got).
//
//   node server.js VERSION PORT
'use strict'
const protocol = require('minecraft-protocol')
const minecraftData = require('minecraft-data')

const [version, port] = [process.argv[2], Number(process.argv[3])]
const tell = (event, more) => console.log(JSON.stringify({ event, ...more }))
const data = minecraftData(version)

const server = protocol.createServer({
  host: '::', port, version, motd: 'parry e2e', 'online-mode': false, 'max-players': 20, hideErrors: true,
})
server.on('listening', () => tell('ready', { version }))
server.on('error', (err) => tell('error', { why: String(err) }))

server.on('playerJoin', (client) => welcome(client))

function welcome (client) {
  const from = `${client.socket.remoteAddress}:${client.socket.remotePort}`
  tell('join', { name: client.username, from })
  client.write('login', {
    ...data.loginPacket, entityId: client.id, gameMode: 1, difficulty: 2, dimension: data.loginPacket?.dimension ?? 0,
    levelType: 'default', hashedSeed: [0, 0], maxPlayers: 20, viewDistance: 4, reducedDebugInfo: false,
    enableRespawnScreen: true, isDebug: false, isFlat: true, enforceSecureChat: false,
  })
  client.write('position', { x: 0, y: 200, z: 0, yaw: 0, pitch: 0, flags: 0, teleportId: 1, dx: 0, dy: 0, dz: 0 })
  let moves = 0
  client.on('position', () => moves++)
  let age = 0n
  const clock = setInterval(() => {
    age++
    client.write('update_time', { age, time: age, tickDayTime: true })
  }, 50)
  client.on('error', (err) => tell('trouble', { name: client.username, why: String(err) }))
  client.on('end', (why) => {
    clearInterval(clock)
    tell('leave', { name: client.username, moves, why })
  })
}
