// SPDX-License-Identifier: Apache-2.0
//
// A Minecraft Bedrock server (RakNet over UDP) without a world, in offline mode: it lets whoever joins spawn and tells
// them the time 20 times a second. Writes one JSON object a line: ready, connect (with the address that it sees), join.
//
//   node bedrock-server.js VERSION PORT BACKEND      BACKEND: raknet-native or jsp-raknet
'use strict'
const bedrock = require('bedrock-protocol')

const [version, port, raknetBackend] = [process.argv[2], Number(process.argv[3]), process.argv[4]]
const tell = (event, more) => console.log(JSON.stringify({ event, ...more }))

const server = bedrock.createServer({
  host: '0.0.0.0', port, version, raknetBackend, offline: true, motd: { motd: 'parry e2e', levelName: 'e2e' },
})
server.on('connect', (client) => {
  const from = client.connection?.address // "ADDRESS/PORT", or an object with both
  tell('connect', { from: typeof from === 'string' ? from.replace('/', ':') : `${from?.address}:${from?.port}` })
  client.on('error', (err) => tell('trouble', { why: String(err) }))
  client.on('join', () => {
    tell('join', { name: client.profile?.name })
    client.write('resource_packs_info', {
      must_accept: false, has_addons: false, has_scripts: false, disable_vibrant_visuals: false, force_server_packs: false,
      world_template: { uuid: '00000000-0000-0000-0000-000000000000', version: '' },
      behaviour_packs: [], texture_packs: [], resource_pack_links: [],
    })
    client.once('resource_pack_client_response', () => letPlay(client))
  })
})

function letPlay (client) {
  client.write('play_status', { status: 'player_spawn' })
  let time = 0
  const clock = setInterval(() => client.queue('set_time', { time: ++time }), 50)
  client.on('close', () => clearInterval(clock))
}

tell('ready', { version, raknetBackend })
