// A program that needs Boost's headers and one of its libraries, and says on which machine it was built.
#include <boost/filesystem.hpp>
#include <boost/version.hpp>

#include <fstream>
#include <iostream>
#include <string>

int main() {
    std::string host = "an unknown machine";
    std::getline(std::ifstream("/proc/sys/kernel/hostname"), host);
    const auto here = boost::filesystem::current_path();
    std::cout << "hello from " << host << ", built in " << here.string() << " with Boost "
              << BOOST_VERSION / 100000 << '.' << BOOST_VERSION / 100 % 1000 << " and GCC " << __VERSION__ << '\n';
}
