// SPDX-License-Identifier: Apache-2.0
//
// A Minecraft Java server with a flat world of real chunks.
//
//   node world.js VERSION PORT
'use strict'
const squid = require('flying-squid')

const server = squid.createMCServer({
  version: process.argv[2], port: Number(process.argv[3]), motd: 'parry e2e', 'online-mode': false, 'max-players': 10,
  'max-entities': 20, 'view-distance': 4, gameMode: 1, difficulty: 0, 'everybody-op': false, kickTimeout: 10000,
  generation: { name: 'superflat', options: { worldHeight: 80 } }, logging: true, plugins: {}, modpe: false,
  'player-list-text': { header: '', footer: '' },
})
server.on('listening', () => console.log('world is ready'))
