"""Which functions are the same machine code in several builds, so that one proof is enough for them."""
import hashlib
from io import BytesIO

from elftools.elf.elffile import ELFFile


class Code:
    """Object files that are linked together; what they refer to beyond themselves is the same in every build."""

    def __init__(self, *files):
        self.elfs = [ELFFile(BytesIO(file.read_bytes())) for file in files]
        self.relocations = [{section["sh_info"]: section for section in elf.iter_sections("SHT_RELA")}
                            for elf in self.elfs]
        # Of two symbols of one name the linker takes the one that it meets first.
        self.globals = {}
        for object, elf in enumerate(self.elfs):
            for symbol in elf.get_section_by_name(".symtab").iter_symbols():
                if symbol["st_info"]["bind"] != "STB_LOCAL" and symbol["st_shndx"] != "SHN_UNDEF":
                    self.globals.setdefault(symbol.name, (object, symbol["st_shndx"], symbol["st_value"]))

    def digest(self, name):
        """Of all that a function consists of: its bytes, whether they may be written or executed, its relocations,
        and all that these refer to. Of two functions with one digest the linker makes the same code, at other
        addresses.
        """
        digest, numbers, todo = hashlib.sha256(), {}, []

        def number(*section):
            """Sections are numbered as they are met, since their names and order don't matter."""
            if section not in numbers:
                numbers[section] = len(numbers)
                todo.append(section)
            return numbers[section]

        object, section, value = self.globals[name]
        digest.update(repr((number(object, section), value)).encode())
        while todo:
            object, section = todo.pop()
            elf, relocations = self.elfs[object], self.relocations[object].get(section)
            it = elf.get_section(section)
            digest.update(repr((number(object, section), it["sh_type"], it["sh_flags"], it.data())).encode())
            for it in relocations.iter_relocations() if relocations else ():
                symbol = elf.get_section(relocations["sh_link"]).get_symbol(it["r_info_sym"])
                place, value = (object, symbol["st_shndx"]), symbol["st_value"]
                if symbol["st_info"]["bind"] != "STB_LOCAL" and symbol.name in self.globals:
                    *place, value = self.globals[symbol.name]
                what = number(*place) if isinstance(place[1], int) else symbol.name
                digest.update(repr((it["r_offset"], it["r_info_type"], it["r_addend"], what, value)).encode())
        return digest.hexdigest()
