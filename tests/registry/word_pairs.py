"""Words of shops: pairs that are one thing, by language, and pairs that are two."""

ONE_THING = {
    "en": """
        hoodie hoodies, lens lenses, shelf shelves, bookshelf bookshelves, canvas canvases, mug mugs, glass glasses,
        dress dresses, box boxes, berry berries, case cases, dish dishes, size sizes, shoe shoes, scarf scarves,
        scarf scarfs, knife knives, penknife penknives, loaf loaves, half halves, leaf leaves, calf calves, hoof
        hooves,
        wolf wolves, elf elves, wife wives, man men, woman women, snowman snowmen, child children, foot feet,
        tooth teeth, goose geese, mouse mice, bus buses, atlas atlases, iris irises, cactus cactuses, cactus cacti,
        gas gases, alias aliases, virus viruses, lotus lotuses, bonus bonuses, octopus octopuses, watch watches,
        brush brushes, bench benches, couch couches, match matches, torch torches, pouch pouches, clutch clutches,
        broach broaches, peach peaches, patch patches, switch switches, brooch brooches, sash sashes, wash washes,
        leash leashes, sandwich sandwiches, fox foxes, axe axes, fax faxes, mix mixes, tax taxes, suffix suffixes,
        vase vases, house houses, blouse blouses, nurse nurses, purse purses, horse horses, hose hoses, rose roses,
        nose noses, fuse fuses, base bases, course courses, chase chases, prize prizes, maze mazes, glaze glazes,
        quiz quizzes, bronze bronzes, gauze gauzes, cookie cookies, movie movies, selfie selfies, beanie beanies,
        onesie onesies, bootie booties, brownie brownies, zombie zombies, genie genies, smoothie smoothies,
        pie pies, tie ties, necktie neckties, baby babies, battery batteries, accessory accessories, candy candies,
        cherry cherries, city cities, diary diaries, jelly jellies, jersey jerseys, key keys, toy toys, tray trays,
        pony ponies, puppy puppies, teddy teddies, trolley trolleys, utility utilities, hobby hobbies, lily lilies,
        potato potatoes, tomato tomatoes, mango mangoes, mango mangos, hero heroes, torpedo torpedoes, toe toes,
        canoe canoes, hoe hoes, photo photos, video videos, piano pianos, radio radios, kangaroo kangaroos,
        bikini bikinis, kiwi kiwis, ski skis, taxi taxis, safari safaris, zucchini zucchinis, menu menus, tutu tutus,
        sofa sofas, bra bras, pyjama pyjamas, pajama pajamas, camera cameras, umbrella umbrellas, banana bananas,
        glove gloves, sleeve sleeves, olive olives, stove stoves, curve curves, valve valves, wave waves, cave caves,
        hive hives, sieve sieves, table tables, candle candles, bottle bottles, cable cables, saddle saddles,
        bicycle bicycles, sneaker sneakers, trainer trainers, boot boots, plimsoll plimsolls, sandal sandals,
        slipper slippers, heel heels, sock socks, belt belts, hat hats, cap caps, jacket jackets, coat coats,
        shirt shirts, skirt skirts, sweater sweaters, jumper jumpers, cardigan cardigans, vest vests, suit suits,
        ring rings, necklace necklaces, bracelet bracelets, earring earrings, pendant pendants, locket lockets,
        chair chairs, desk desks, lamp lamps, rug rugs, curtain curtains, cushion cushions, pillow pillows,
        blanket blankets, towel towels, plate plates, bowl bowls, cup cups, spoon spoons, fork forks, pan pans,
        legging leggings, stocking stockings, men men's, women womens, kid kid's, tee tees, knee knees, bee bees,
        chassis chassis, tshirt t-shirts, headache headaches, cache caches, toothbrush toothbrushes, sunglass
        sunglasses
    """,
    "es": """
        taza tazas, plato platos, plata platas, bolso bolsos, bolsa bolsas, gris grises, autobús autobuses, luz luces,
        lápiz lápices, pez peces, cruz cruces, nuez nueces, nariz narices, tapiz tapices, dulce dulces,
        enlace enlaces, bronce bronces, flor flores, color colores, tambor tambores, collar collares, mantel manteles,
        papel papeles, piel pieles, cartel carteles, pincel pinceles, clavel claveles, sol soles, árbol árboles,
        farol faroles, red redes, pared paredes, ciudad ciudades, reloj relojes, sillón sillones, cojín cojines,
        botón botones, balón balones, pantalón pantalones, camisón camisones, cinturón cinturones, jabón jabones,
        corazón corazones, ratón ratones, camión camiones, avión aviones, imán imanes, volcán volcanes,
        calcetín calcetines, jardín jardines, patín patines, violín violines, guante guantes, zapato zapatos,
        zapatilla zapatillas, bota botas, sandalia sandalias, falda faldas, camisa camisas, camiseta camisetas,
        chaqueta chaquetas, abrigo abrigos, sombrero sombreros, gorra gorras, bufanda bufandas, pañuelo pañuelos,
        vestido vestidos, traje trajes, mesa mesas, silla sillas, lámpara lámparas, espejo espejos, cuadro cuadros,
        alfombra alfombras, cortina cortinas, manta mantas, toalla toallas, cable cables, cofre cofres, sobre sobres,
        coche coches, llave llaves, nube nubes, sofá sofás, café cafés, bebé bebés, pie pies, menú menús,
        champú champús, mes meses, arnés arneses, compás compases, jersey jerséis, virus virus, rojo roja,
        rojo rojas, negro negras, blanco blanca, amarillo amarillas, pequeño pequeña, redondo redondas, dorado dorada,
        esmaltado esmaltada, bordado bordadas, eléctrico eléctrica, inalámbrico inalámbricos, largo larga,
        nuevo nuevas, gris gris, azul azules, marrón marrones, móvil móviles, portátil portátiles, tenedor tenedores,
        cuchara cucharas, cuchillo cuchillos, anillo anillos, pendiente pendientes, pulsera pulseras
    """,
    "de": """
        Tasse Tassen, Haus Häuser, Glas Gläser, Weinglas Weingläser, grün grüne, grün grünes, grün grüner, rot roten,
        schwarz schwarze, Schuh Schuhe, Handtuch Handtücher, Rad Räder, Fahrrad Fahrräder, Buch Bücher, Bild Bilder,
        Kind Kinder, Kleid Kleider, Band Bänder, Brett Bretter, Schild Schilder, Licht Lichter, Stuhl Stühle,
        Tisch Tische, Lampe Lampen, Kerze Kerzen, Decke Decken, Schraube Schrauben, Nadel Nadeln, Gabel Gabeln,
        Feder Federn, Löffel Löffel, Messer Messer, Uhr Uhren, Bett Betten, Garten Gärten, Ofen Öfen, Rock Röcke,
        Topf Töpfe, Keks Kekse, Preis Preise, Maus Mäuse, Hose Hosen, Kasse Kassen, Auto Autos, Sofa Sofas,
        Shirt Shirts, Handy Handys, Hoodie Hoodies, Schal Schals, Straße Strassen, Tür Türen, Karte Karten,
        groß große, Schrank Schränke, Müller Mueller
    """,
    "fr": """
        robe robes, chapeau chapeaux, manteau manteaux, rideau rideaux, couteau couteaux, noir noires, noir noire,
        écharpe echarpes, vert verte, blanc blanche, blanc blanches, gris grise, gris grises, bleu bleue, rond rondes,
        grand grande, petit petites, long longue, doré dorée, rayé rayées, carré carrée, brodé brodée, doux douce,
        bocal bocaux, journal journaux, cheval chevaux, bijou bijoux, jeu jeux, cheveu cheveux, tuyau tuyaux,
        chaussure chaussures, botte bottes, sac sacs, pull pulls, pantalon pantalons, chemise chemises, jupe jupes,
        veste vestes, gant gants, bague bagues, collier colliers, montre montres, lampe lampes, table tables,
        chaise chaises, tapis tapis, verre verres, assiette assiettes, tasse tasses, bougie bougies, coussin coussins,
        drap draps, neuf neuve, eau l'eau
    """,
}

TWO_THINGS = {
    "en": """
        bedding bed, legging leg, stocking stock, glass glas, tennis tenni, mug mud, short shorts, tight tights,
        brief briefs, new news, good goods, custom customs, bus bu, lens len, bass base, boss bose, ring rig,
        plant planter, print printer, toast toaster, mix mixer, paint painting, hang hanger, cook cooker, wash washer,
        train trainer, sneak sneaker, jump jumper, sleep sleeper, slip slipper, strap strip, pan pane, cap cape,
        can cane, tub tube, rob robe, cub cube, pin pine, not note, hat hate, plan plane, kit kite, fir fire, car
        care,
        scar scarf, desk disk, bowl bowling, trim trimmer, light lighter
    """,
    "es": """
        plata plato, bolso bolsa, sol sala, taza tapa, gorro gorra, cesto cesta, cuadro cuadra, manto manta,
        puerto puerta,
        banco banca, barco barca, barro barra, foco foca, libro libra, cuchillo cuchilla, anillo anilla, caño caña,
        cubo cuba, cinto cinta, fruto fruta, copo copa, ramo rama, pero pera, velo vela, punto punta, tubo tuba,
        palo pala, rodillo rodilla, huerto huerta, suelo suela, jarro jarra, saco saca, bombo bomba, mango manga,
        pimiento pimienta, tostado tostada, calzado calzada, granado granada, casco casca, capa caja, papel papa
    """,
    "de": """
        Drucker Druck, Toaster Toast, Messer Messe, Schrauber Schraube, Kleidung Kleid, Bohrer Bohr, Haus Hase,
        Decke Deckel, Eis Ei, Reis Reise, Stecker Steck, Wecker Weck, Leiter Leite, Mixer Mix, Tasse Tasche,
        Leine Leinen,
        Kiste Kissen, Hut Hütte, Ring Rind, Rock Rocker, Hemd Hand, Feld Feder, Uhr Ohr, Mais Mai
    """,
    "fr": """
        port porte, verre vert, cour course, sac sacoche, bague baguette, cheval chevalet,
        chaise chaîne, manche manchette, poche pochette, serviette service, lit litre, tapis taper, carte carton,
        poupe poupée, bouée boue, purée pure, allée aller, chapelet chapeau, peau pot, marée mare, point pointe,
        montre mont
    """,
}


def pairs(text: str) -> list[tuple[str, str]]:
    return [tuple(pair.split()) for pair in text.split(",")]
