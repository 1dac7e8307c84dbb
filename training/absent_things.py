"""Things that no shop of the renderer sells, to ask for in training: nothing is the right answer."""

from __future__ import annotations

from demo_project.rendering.vocabulary import Language


def _listed(words: str) -> tuple[str, ...]:
    return tuple(" ".join(words.split()).split(", "))


THINGS: dict[Language, tuple[str, ...]] = {
    "en": _listed(
        """
        abacus, air mattress, air conditioner, almonds, ambulance, anchor, antenna, anvil, apple, apron,
        ashtray, baby monitor, bagpipes, baking tray, balloon, banana, bandage, barometer, baseball bat,
        basketball, bath towel, bathrobe, bed sheet, beehive, bell, bench, bicycle, bikini, bird feeder,
        blanket, blinds, boat, bolt cutters, boots, bottle opener, bow tie, bow and arrow, bowl, bread,
        bridge, brooch, bulldozer, bus, cabinet, cable, cake, camera, camper van, candle, cardigan, cargo
        ship, carrot, caravan, cat food, ceiling fan, cement mixer, chair, chalk, charger, chest of drawers,
        chicken coop, chisel, clarinet, clothes line, coat, coffee beans, comb, computer, concrete, cooker,
        cooler, cot, crayons, cricket bat, crossbow, crown, crowbar, curling iron, curtains, cutting board,
        dart board, desk, desk chair, diamond ring, dictionary, dining table, dinosaur, dog bed, doll, dolls
        house, door, door handle, drawer, drill, drone, dryer, dustbin, duvet, easel, eggs, electric guitar,
        elevator, engine, envelope, eraser, eyeliner, fence, ferry, filing cabinet, fireplace, fish tank,
        flag, flashlight, floor tiles, flour, folding chair, fork, fountain, fountain pen, fur coat, garage
        door, garden gnome, gas mask, generator, glasses, gloves, go kart, goalposts, grand piano, grapes,
        greenhouse, guitar, gumboots, hairbrush, handcuffs, harmonica, harp, hay bale, headboard, heater,
        hedge trimmer, helmet, hoe, honey, horn, hot tub, hourglass, house, ice cream maker, inflatable
        pool, ink cartridge, iron, jacket, jacuzzi, jam, jeans, jet ski, jewellery box, juicer, jumper,
        kennel, kettle bell, keys, kitchen scales, kite, knife, laptop, lawn chair, leggings, lemon, lens,
        letter box, light bulb, lighter, lock, locomotive, loudspeaker, magnet, mandolin, map, mask,
        measuring tape, megaphone, metronome, milk, mirror, mixer, modem, monitor, mop, mousetrap, mouth
        organ, mower, muffler, nails, napkin, needle, net, oboe, oil lantern, onion, organ, oven, padlock,
        paint, paint brush, pan, paper clip, parachute, parrot, pasta, peanut butter, pen, pencil, pepper
        mill, petrol can, photo frame, piggy bank, ping pong table, pipe, pizza, playpen, plough, plunger,
        pocket knife, pogo stick, polaroid, pony, pool table, popcorn, potato, power bank, pram, projector,
        pump, puppet, pyjamas, quilt, racket, radiator, rake, razor, record player, refrigerator, rice
        cooker, ring, robot, roller skates, rolling pin, roof rack, rope, rowing machine, rubber duck, rug,
        ruler, sail, salt shaker, sandals, sandpaper, sauna, saxophone, scale, scanner, scarf, scooter,
        screws, seeds, sewing machine, shampoo, shed, shelf, shovel, shower curtain, shower head, sink,
        skateboard, skis, skirt, sled, slide, smoke detector, snowboard, soap, socket, sofa, sofa bed, solar
        panel, soup, spade, spanner, spatula, speaker, spoon, sponge, staircase, stamp, steering wheel,
        stepladder, stethoscope, stool, stove, stroller, submarine, sugar, suit, sunglasses, swing, switch,
        sword, syringe, table, tablet, tap, tape measure, tarpaulin, teapot, teddy bear, tennis net,
        thermometer, thread, tie, tights, tiles, tin opener, tissue box, toilet, tomato, tongs, toolbox,
        torch, towel, toy car, tractor, traffic cone, train, tray, treadmill, tripod, trousers, truck,
        trumpet, tuba, tweezers, tyre, ukulele, underwear, unicycle, van, varnish, video game, wagon,
        wallpaper, walking stick, wallet, wardrobe, washing machine, water bottle, water tank, weed killer,
        wetsuit, wheel, wheelchair, whisk, whistle, wig, wind chime, window, wine, wok, wood, wool,
        workbench, xylophone, yacht, yoghurt, zip, zither
        """
    ),
    "es": _listed(
        """
        abanico, abono, abrelatas, abrigo, aguja, aire acondicionado, albornoz, alicates, almendras,
        altavoz, ambulancia, ancla, andamio, antena, arado, arco y flechas, armario, armónica, arroz,
        ascensor, asiento de coche, autobús, autocaravana, avión, azada, azúcar, azulejos, balanza, balcón,
        balón, banco, bandeja, bandera, barbacoa, barca, barco, báscula, bastón, batidora, bebedero,
        biberón, billetera, bisturí, bizcocho, boli, bolígrafo, bomba de agua, botas, botella, botiquín,
        brazalete, brocha, brújula, buzón, cable, cadena, cafetera, caja de herramientas, cajón, caldera,
        calefactor, calentador, cámara, camilla, camión, campana, candado, canoa, caramelos, caravana,
        carbón, carne, carretilla, cartas, casa de muñecas, cascos, castillo, catre, cazuela, cebolla,
        cemento, cepillo, cera, cerillas, cerveza, champiñones, chaleco salvavidas, chaqueta, chimenea
        eléctrica, cinta adhesiva, cinta métrica, cinturón, clarinete, coche, cochecito, cocina de gas,
        cohete, cometa, cómoda, compás, congelador, contrabajo, copa de vino, corbata, corona, cortaúñas,
        crucigrama, cuadro, cubertería, cubo, cuchara, cuerda, cuna de viaje, dados, dardos, delantal,
        depósito, despertador, detergente, diana, disco duro, disfraz, dron, edredón, embudo, enchufe,
        ensaladera, espada, espátula, esponja, esquí acuático, estetoscopio, estuche de violín, extintor,
        excavadora, faja, falda, faro, felpudo, flotador, fogón, frambuesas, fregadero, fuente de jardín,
        furgoneta, galletas, gallinero, garaje, gasolina, gato hidráulico, gel de baño, generador, globo,
        goma de borrar, grapadora, grifo, grúa, guirnalda, gusanos, harina, harmonio, hebilla, helado,
        herradura, hielo, hierba, hoguera, hornillo, hucha, huevos, imán, incubadora, inodoro, invernadero,
        jarabe, jardinera, jeringuilla, jersey, juguete, lana, lancha, lápiz, lata, laúd, lavabo,
        lavavajillas, leche, lechuga, lejía, libro, licuadora, lienzo, lima, limón, limpiacristales, litera,
        llavero, llaves, locomotora, lona, madera, maíz, mandolina, mantel, mantequilla, manzana, mapa,
        máquina de coser, marco, mariposa, máscara, matamoscas, mecedora, medicina, megáfono, melón,
        mermelada, mesa, mesilla, metrónomo, microondas, miel, molinillo, monedero, monitor, moto,
        mosquitera, mueble, muelle, muñeca, naipes, nata, noria, olla, ordenador portátil, órgano, oso de
        peluche, pala, palanca, palmera, pan, panel solar, pantalla de cine, papel de pared, papelera,
        paracaídas, parrilla, parque infantil, pasta, patatas, patines, patinete, peluca, pera, persiana,
        pesas, pescado, pez, picadora, pijama, pila, pimienta, pincel, pintalabios, pintura, pizarra, placa
        solar, plancha, plátano, podadora, portón, proyector, pulpo, puerta, puzle, quad, queroseno,
        quiosco, raqueta de nieve, ratonera, regla, remolque, repisa, robot de cocina, rodillo,
        rompecabezas, ropero, rueda, sábana, sacacorchos, saco de dormir, sal, salero, sandalias, sandía,
        saxofón, semillas, servilletas, seto, sierra, silla, silla de ruedas, sillita, sirena, soga, sofá,
        sofá cama, soldador, sonajero, submarino, sudadera, surtidor, taburete, tabla de planchar, tablón,
        tambor, tapicería, tarjeta, tarta, teclado, tejado, teja, televisor, tenedor, termómetro, termo,
        timbre, tinta, toalla, tocadiscos, tomate, tractor, traje, trampolín, tren, trenecito, triciclo,
        trineo, trípode, trompeta, tubería, ukelele, uvas, váter, vajilla de plástico, valla, vela, velero,
        ventana, ventilador, videojuego, vinagre, vino, vitrina, wok, xilófono, yate, yogur, yunque,
        zanahoria, zanja, zueco
        """
    ),
}
